"""Certificates for a hub of a test."""

import ssl
import subprocess
from pathlib import Path


def certificate(folder: Path, alternative: str) -> tuple[Path, ssl.SSLContext]:
    """A fresh self-signed certificate for this name, and a server's context with it."""
    cert, key = folder / "hub.pem", folder / "hub.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hub"),
            *("-addext", f"subjectAltName={alternative}", "-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context
