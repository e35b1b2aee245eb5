"""Takes messages by HTTPS and by mail (STARTTLS, with a log-in), and writes each as a line of JSON.

alarms.py FOLDER HTTPS_PORT SMTP_PORT: certificate and key are FOLDER/alarms.crt and .key. While FOLDER/deny is there, nothing
is taken. Ends with its standard input.
"""

import email
import http.server
import json
import os
import ssl
import sys
import threading
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

folder, https_port, smtp_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(f"{folder}/alarms.crt", f"{folder}/alarms.key")
lock = threading.Lock()


def denies():
    return os.path.exists(f"{folder}/deny")


def keep(message):
    with lock, open(f"{folder}/taken", "a", encoding="utf-8") as file:
        file.write(json.dumps(message | {"taken_at": time.time()}) + "\n")


class Hook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        if not denies():
            keep({"way": "webhook", "signature": self.headers["wardline-signature"], "body": body})
        self.send_response(503 if denies() else 204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Mail:
    async def handle_DATA(self, server, session, envelope):
        if denies():
            return "451 later"
        mail = email.message_from_bytes(envelope.content)
        text = mail.get_payload(decode=True).decode()
        subject = str(email.header.make_header(email.header.decode_header(mail["subject"])))
        keep({"way": "mail", "from": envelope.mail_from, "to": envelope.rcpt_tos, "subject": subject, "text": text})
        return "250 taken"


def login(server, session, envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"wardline", b"mail password")
    return AuthResult(success=right)


hook = http.server.ThreadingHTTPServer(("127.0.0.1", https_port), Hook)
hook.socket = context.wrap_socket(hook.socket, server_side=True)
threading.Thread(target=hook.serve_forever, daemon=True).start()
mail = Controller(
    Mail(),
    hostname="127.0.0.1",
    port=smtp_port,
    tls_context=context,
    require_starttls=True,
    auth_required=True,
    authenticator=login,
)
mail.start()
print("ready", flush=True)
sys.stdin.read()
