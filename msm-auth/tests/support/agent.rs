//! A SPIFFE Workload API server that says what a test tells it to, right or wrong.
//!
//! Its messages are written by hand after `workload.proto`, so that nothing generates code.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_stream::wrappers::{UnixListenerStream, WatchStream};
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

/// `X509SVIDRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SvidRequest {}

/// `X509SVIDResponse`: each is the full state.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct State {
    #[prost(message, repeated, tag = "1")]
    pub(crate) svids: Vec<Svid>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) crl: Vec<Vec<u8>>,
    #[prost(btree_map = "string, bytes", tag = "3")]
    pub(crate) federated_bundles: BTreeMap<String, Vec<u8>>,
}

/// `X509SVID`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Svid {
    #[prost(string, tag = "1")]
    pub(crate) spiffe_id: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) x509_svid: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) x509_svid_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) bundle: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(crate) hint: String,
}

/// What every stream is told, at its beginning and at each change.
#[derive(Clone)]
enum Answer {
    State(State),
    Status(Code, &'static str),
    /// Open, and nothing to say.
    Silence,
}

/// The server. It stops when dropped.
pub(crate) struct Agent {
    dir: TempDir,
    answer: watch::Sender<Answer>,
    calls: watch::Sender<usize>,
    /// Its own, as ending it is the one way to cut every connection at once.
    runtime: Option<Runtime>,
}

impl Agent {
    pub(crate) fn start() -> Self {
        let mut agent = Self {
            dir: TempDir::new().expect("a directory for the socket"),
            answer: watch::Sender::new(Answer::Silence),
            calls: watch::Sender::new(0),
            runtime: None,
        };
        agent.come_back();
        agent
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Says this state from now on.
    pub(crate) fn push(&self, state: State) {
        self.answer.send_replace(Answer::State(state));
    }

    /// Ends streams with this status from now on.
    pub(crate) fn refuse(&self, code: Code, message: &'static str) {
        self.answer.send_replace(Answer::Status(code, message));
    }

    /// How many streams have been opened.
    pub(crate) fn calls(&self) -> watch::Receiver<usize> {
        self.calls.subscribe()
    }

    /// Cuts every connection and listens no more.
    pub(crate) fn go_away(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        let _ = std::fs::remove_file(self.socket());
    }

    pub(crate) fn come_back(&mut self) {
        self.go_away();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime for the agent");
        let path = self.socket();
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(path).expect("the socket")
        };
        let api = Api { answer: self.answer.subscribe(), calls: self.calls.clone() };
        runtime
            .spawn(Server::builder().add_service(api).serve_with_incoming(UnixListenerStream::new(listener)));
        self.runtime = Some(runtime);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.go_away();
    }
}

#[derive(Clone)]
struct Api {
    answer: watch::Receiver<Answer>,
    calls: watch::Sender<usize>,
}

impl NamedService for Api {
    const NAME: &'static str = "SpiffeWorkloadAPI";
}

impl Service<http::Request<Body>> for Api {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let api = self.clone();
        Box::pin(async move {
            if request.uri().path() != "/SpiffeWorkloadAPI/FetchX509SVID" {
                return Ok(Status::unimplemented("this agent has one method").into_http());
            }
            Ok(Grpc::new(ProstCodec::<State, SvidRequest>::default()).server_streaming(api, request).await)
        })
    }
}

type States = Pin<Box<dyn Stream<Item = Result<State, Status>> + Send>>;

impl ServerStreamingService<SvidRequest> for Api {
    type Response = State;
    type ResponseStream = States;
    type Future = BoxFuture<Response<States>, Status>;

    fn call(&mut self, request: Request<SvidRequest>) -> Self::Future {
        let api = self.clone();
        Box::pin(async move {
            // The header that keeps a web page from asking (`Workload Endpoint §5`).
            if request.metadata().get("workload.spiffe.io").is_none_or(|value| value != "true") {
                return Err(Status::invalid_argument("the header workload.spiffe.io is missing"));
            }
            api.calls.send_modify(|calls| *calls += 1);
            if let Answer::Status(code, message) = *api.answer.borrow() {
                return Err(Status::new(code, message));
            }
            let said = WatchStream::new(api.answer).filter_map(|answer| match answer {
                Answer::State(state) => Some(Ok(state)),
                Answer::Status(code, message) => Some(Err(Status::new(code, message))),
                Answer::Silence => None,
            });
            Ok(Response::new(Box::pin(said) as States))
        })
    }
}
