//! A handshake in memory.

use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};

use crate::identity::error::SvidError;
use crate::identity::tls::{refusal, server_name};

/// What came of a handshake: both connections, or the first error of each side.
pub(super) struct Outcome {
    pub(super) client: ClientConnection,
    pub(super) server: ServerConnection,
    pub(super) client_error: Option<Error>,
    pub(super) server_error: Option<Error>,
}

impl Outcome {
    pub(super) fn ok(self) -> (ClientConnection, ServerConnection) {
        assert_eq!((self.client_error, self.server_error), (None, None));
        assert!(!self.client.is_handshaking() && !self.server.is_handshaking());
        (self.client, self.server)
    }

    pub(super) fn client_refusal(&self) -> &SvidError {
        refusal(self.client_error.as_ref().expect("the client refuses")).expect("with a reason")
    }

    pub(super) fn server_refusal(&self) -> &SvidError {
        refusal(self.server_error.as_ref().expect("the server refuses")).expect("with a reason")
    }
}

/// Carries the bytes of two peers in memory until neither has any left.
pub(super) fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Outcome {
    let mut outcome = Outcome {
        client: ClientConnection::new(client.clone(), server_name()).expect("client"),
        server: ServerConnection::new(server.clone()).expect("server"),
        client_error: None,
        server_error: None,
    };
    for _ in 0..10 {
        let mut bytes = Vec::new();
        while outcome.client.wants_write() {
            outcome.client.write_tls(&mut bytes).expect("written");
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && outcome.server.read_tls(&mut rest).is_ok() {
            let result = outcome.server.process_new_packets();
            outcome.server_error = outcome.server_error.or(result.err());
        }
        let mut bytes = Vec::new();
        while outcome.server.wants_write() {
            outcome.server.write_tls(&mut bytes).expect("written");
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && outcome.client.read_tls(&mut rest).is_ok() {
            let result = outcome.client.process_new_packets();
            outcome.client_error = outcome.client_error.or(result.err());
        }
    }
    outcome
}
