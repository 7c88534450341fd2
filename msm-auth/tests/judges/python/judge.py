"""Says what the PyPI `spiffe` client gets from a Workload API, for tests/judges.rs.

    judge.py fetch ENDPOINT    asks once, says one line, and ends
    judge.py watch ENDPOINT    says a line for each state, until an error or the end of standard input

A line is "svid ID certificates N serial HEX bundles DOMAIN:AUTHORITIES,... expires SECONDS" for a state whose SVID is
verified against the bundle of its trust domain, and "error REASON" for anything else.
"""

import os
import sys
from urllib.parse import urlparse

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import PolicyBuilder, Store
from spiffe import WorkloadApiClient

# Seconds: what has not been answered by then never will be.
LIMIT = 20


def say(line):
    print(" ".join(line.split()), flush=True)


def public(key):
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def judge(state):
    """The default SVID, once it is verified. The client parses: chain and key are for its user to check."""
    svid = state.default_svid
    if public(svid.private_key.public_key()) != public(svid.leaf.public_key()):
        raise ValueError("the private key is not the leaf's")
    bundle = state.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    if not bundle.x509_authorities:
        raise ValueError("the bundle is empty")
    policy = PolicyBuilder().store(Store(list(bundle.x509_authorities)))
    # Workload certificates authenticate both ends of a connection; this asks for the client's extended key usage.
    policy.build_client_verifier().verify(svid.leaf, svid.cert_chain[1:])
    bundles = sorted(
        f"{bundle.trust_domain.name}:{len(bundle.x509_authorities)}" for bundle in state.x509_bundle_set.bundles
    )
    say(
        f"svid {svid.spiffe_id} certificates {len(svid.cert_chain)} serial {svid.leaf.serial_number:x}"
        f" bundles {','.join(bundles)} expires {int(svid.leaf.not_valid_after_utc.timestamp())}"
    )


def report(error):
    say(f"error {type(error).__name__}: {error}")


def fetch(client):
    try:
        judge(client.fetch_x509_context(timeout=LIMIT))
    except Exception as error:
        report(error)


def watch(client):
    # It retries an error in silence unless told not to; what its user's callback raises is an error, too.
    handler = client.stream_x509_contexts(judge, report, retry_connect=False)
    sys.stdin.read()
    handler.cancel()


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("fetch", "watch"):
        sys.exit("usage: judge.py fetch|watch ENDPOINT")
    # gRPC's C core makes the `:authority` of the socket's path, slashes as %2F. No host's name has these (RFC 9113 §8.3.1,
    # RFC 3986 §3.2.2), and the agent of the tests, as hyper's servers do, refuses them. A bare file name is no trouble.
    path = urlparse(sys.argv[2]).path
    os.chdir(os.path.dirname(path))
    client = WorkloadApiClient(socket_path=f"unix:{os.path.basename(path)}")
    {"fetch": fetch, "watch": watch}[sys.argv[1]](client)
    client.close()


main()
