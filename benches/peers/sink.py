"""A mail server that notes when it took each mail: `sink.py ADDRESS FILE`.

Each line of the file: microseconds of the clock when the answer to the end of the mail (250) was sent, the end of the
tick that the mail is about in microseconds of event time, and its state.
"""

import datetime
import email
import email.policy
import re
import socketserver
import sys
import time

# When it fired is when it began, as the rule waits for nothing; when it was resolved is the end of what lasted.
INSTANT = re.compile(r"^(?:Since: |Lasted: .*? to )(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", re.MULTILINE)


def tick_end(mail):
    """The end of the tick that a mail is about; `None` if it is about none."""
    text = mail.get_body(("plain",)).get_content()
    found = INSTANT.search(text)
    if not found:
        return None
    instant = datetime.datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=datetime.timezone.utc)
    return int(instant.timestamp()) * 1_000_000


class Session(socketserver.StreamRequestHandler):
    """One SMTP session."""

    def answer(self, line):
        self.wfile.write(line + b"\r\n")

    def handle(self):
        self.answer(b"220 sink")
        for line in self.rfile:
            command = line[:4].upper()
            if command == b"QUIT":
                self.answer(b"221 bye")
                return
            if command == b"DATA":
                self.answer(b"354 go on")
                content = self.content()
                self.answer(b"250 taken")
                self.note(time.time_ns() // 1_000, content)
            else:
                self.answer(b"250 fine")

    def content(self):
        """The mail, up to the line with a dot alone."""
        lines = []
        for line in self.rfile:
            if line == b".\r\n":
                break
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def note(self, at, content):
        mail = email.message_from_bytes(content, policy=email.policy.default)
        print(at, tick_end(mail) or "-", mail["X-Modelwatch-State"], file=self.server.notes, flush=True)


class Server(socketserver.ThreadingTCPServer):
    """Takes sessions side by side."""

    allow_reuse_address = True
    daemon_threads = True


def main(address, file):
    """Serves until it is ended."""
    host, port = address.rsplit(":", 1)
    with Server((host, int(port)), Session) as server, open(file, "w", encoding="utf-8") as notes:
        server.notes = notes
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
