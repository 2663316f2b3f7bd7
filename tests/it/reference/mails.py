"""Prints the mails of a Maildir that a rule caused, oldest first, as JSON: what Python's own parsers make of them.

    python3 mails.py MAILDIR RULE
"""

import email.policy
import json
import mailbox
import sys
from pathlib import Path


def parse(file):
    return email.message_from_binary_file(file, policy=email.policy.default)


def told(mail):
    def part(kind):
        body = mail.get_body(preferencelist=(kind,))
        return body.get_content() if body else None

    # Headers that stand twice show as such.
    headers = {name.lower(): [str(value) for value in mail.get_all(name)] for name in mail.keys()}
    return {"headers": headers, "parts": [part.get_content_type() for part in mail.walk()], "text": part("plain"),
            "html": part("html"), "defects": [str(defect) for defect in mail.defects]}


def main():
    folder, rule = sys.argv[1:]
    if not Path(folder).is_dir():
        return print("[]")
    mails = mailbox.Maildir(folder, factory=parse, create=False)
    found = [told(mail) for _, mail in sorted(mails.items())]
    found = [mail for mail in found if rule in (mail["text"] or "")]
    print(json.dumps(sorted(found, key=lambda mail: mail["headers"]["x-modelwatch-state"])))


main()
