"""What of the environment decides the way to a service: proxies and certificate authorities."""

from __future__ import annotations

import http.server
import os
import pathlib
import select
import shutil
import socket
import subprocess
import threading
from typing import Iterator
from urllib.parse import urlsplit

import pytest

from conftest import run_python

LIMITS = "from orkestr import Sandbox\nprint(Sandbox.limits().plan)"
REFUSED = """
from orkestr import ConnectionError, Sandbox
try:
    Sandbox.limits()
except ConnectionError as error:
    print(error)
"""


class Proxy:
    """An HTTP proxy that notes what it was asked for: absolute addresses, and CONNECT."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(f"GET {self.path}")
                address = urlsplit(self.path)
                with socket.create_connection((address.hostname, address.port)) as there:
                    head = f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n"
                    head += f"Authorization: {self.headers['Authorization']}\r\n\r\n"
                    there.sendall(head.encode())
                    while part := there.recv(65536):
                        self.wfile.write(part)
                self.close_connection = True

            def do_CONNECT(self) -> None:
                asked.append(f"CONNECT {self.path}")
                host, _, port = self.path.partition(":")
                with socket.create_connection((host, int(port))) as there:
                    self.send_response(200)
                    self.end_headers()
                    ends = {self.connection: there, there: self.connection}
                    while True:
                        for one in select.select(list(ends), [], [])[0]:
                            data = one.recv(65536)
                            if not data:
                                self.close_connection = True
                                return
                            ends[one].sendall(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    one = Proxy()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_a_proxy_for_http(service, proxy, name) -> None:
    run_python(LIMITS, {**service.environment, name: proxy.url})
    assert proxy.asked and all(one.startswith(f"GET {service.url}/") for one in proxy.asked)


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "*", "example.com,127.0.0.1"])
def test_no_proxy(service, proxy, no_proxy) -> None:
    run_python(LIMITS, {**service.environment, "http_proxy": proxy.url, "no_proxy": no_proxy})
    assert proxy.asked == []


def test_upper_case_counts_for_nothing_where_a_web_server_runs_us(service, proxy) -> None:
    run_python(LIMITS, {**service.environment, "HTTP_PROXY": proxy.url, "REQUEST_METHOD": "GET"})
    assert proxy.asked == []


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY"])
def test_a_tunnel_for_https(tls_service, proxy, name) -> None:
    run_python(LIMITS, with_authority(tls_service) | {name: proxy.url})
    assert proxy.asked == [f"CONNECT {urlsplit(tls_service.url).netloc}"]


def test_a_proxy_that_is_not_there(service) -> None:
    said = run_python(REFUSED, {**service.environment, "http_proxy": "http://127.0.0.1:1"})
    assert said.strip(), "a refused connection is a ConnectionError"


# ---- certificate authorities


def without_authorities(service) -> dict[str, str]:
    names = ("CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
    return {name: value for name, value in service.environment.items() if name not in names}


def with_authority(service) -> dict[str, str]:
    return {**without_authorities(service), "SSL_CERT_FILE": service.ca_file}


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "CURL_CA_BUNDLE"])
def test_a_file_of_authorities(tls_service, name) -> None:
    assert run_python(LIMITS, {**without_authorities(tls_service), name: tls_service.ca_file}).strip()


def test_curl_ca_bundle_wins(tls_service, tmp_path: pathlib.Path) -> None:
    other = tmp_path / "none.pem"
    other.write_text("")
    both = {**without_authorities(tls_service), "CURL_CA_BUNDLE": tls_service.ca_file, "SSL_CERT_FILE": str(other)}
    assert run_python(LIMITS, both).strip()


def test_a_directory_of_authorities(tls_service, tmp_path: pathlib.Path) -> None:
    """As `openssl rehash` leaves it: a link by the hash of its subject."""
    openssl = shutil.which("openssl")
    assert openssl, "openssl is needed for this test"
    authority = tmp_path / "authority.pem"
    shutil.copy(tls_service.ca_file, authority)
    named = subprocess.run([openssl, "x509", "-subject_hash", "-noout", "-in", authority], check=True, capture_output=True, text=True)
    os.symlink(authority.name, tmp_path / f"{named.stdout.strip()}.0")
    assert run_python(LIMITS, {**without_authorities(tls_service), "SSL_CERT_DIR": str(tmp_path)}).strip()


def test_a_directory_without_it(tls_service, tmp_path: pathlib.Path) -> None:
    assert "certificate" in run_python(REFUSED, {**without_authorities(tls_service), "SSL_CERT_DIR": str(tmp_path)})
