#!/usr/bin/python3
"""An RTSP server that answers each request with one status: status_server.py --address ADDRESS --status STATUS"""

import argparse
import socketserver


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        number = "0"
        for line in self.rfile:
            line = line.decode("latin-1").strip()
            if line.lower().startswith("cseq:"):
                number = line.split(":", 1)[1].strip()
            if not line:
                self.wfile.write(f"RTSP/1.0 {options.status} Refused\r\nCSeq: {number}\r\n\r\n".encode())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


parser = argparse.ArgumentParser()
parser.add_argument("--status", type=int)
parser.add_argument("--address")
options = parser.parse_args()
with Server((options.address, 8554), Handler) as server:
    print("ready", flush=True)
    server.serve_forever()
