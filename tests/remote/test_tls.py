"""TLS beside Python's own OpenSSL, in one process; HTTP/2 against a server that speaks it."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess

import pytest

from conftest import run_python

BESIDE = """
import hashlib, json, os, ssl, threading, urllib.request
ssl.create_default_context()  # OpenSSL is in, with its own settings
from orkestr import Sandbox
url = os.environ["ORKESTR_BASE_URL"]
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
problems = []
def theirs():
    try:
        for _ in range(50):
            assert isinstance(json.load(opener.open(url + "/_test/requests")), list)
    except Exception as error:
        problems.append(error)
thread = threading.Thread(target=theirs)
thread.start()
with Sandbox.create("python-3.12") as sandbox:
    for i in range(50):
        assert sandbox.exec(f"echo {i}").stdout == f"{i}\\n"
    data = os.urandom(20 << 20)
    sandbox.files.write_bytes("/workspace/big", data)
    assert hashlib.sha256(sandbox.files.read_bytes("/workspace/big")).digest() == hashlib.sha256(data).digest()
thread.join()
assert not problems, problems
libraries = {line.split("/")[-1].strip() for line in open("/proc/self/maps") if ".so" in line}
print(json.dumps(sorted(name for name in libraries if "curl" in name or "ssl" in name or "gnutls" in name)))
"""


def with_authority(service) -> dict[str, str]:
    environment = {name: value for name, value in service.environment.items() if name != "CURL_CA_BUNDLE"}
    return {**environment, "SSL_CERT_FILE": service.ca_file}


def test_beside_openssl(tls_service) -> None:
    loaded = json.loads(run_python(BESIDE, with_authority(tls_service)))
    assert any(name.startswith("libcurl-gnutls") for name in loaded)
    assert any("ssl" in name for name in loaded)
    assert not any(name.startswith("libcurl.") for name in loaded)


def test_an_unknown_authority_is_refused(tls_service) -> None:
    code = """
from orkestr import ConnectionError, Sandbox
try:
    Sandbox.limits()
except ConnectionError as error:
    print(error)
"""
    environment = {name: value for name, value in tls_service.environment.items() if name not in ("CURL_CA_BUNDLE", "SSL_CERT_FILE")}
    assert "certificate" in run_python(code, environment)


H2_SERVER = r"""
const http2 = require('http2'), fs = require('fs');
const [key, cert] = process.argv.slice(1).map((file) => fs.readFileSync(file));
const sessions = new Set();
const server = http2.createSecureServer({ key, cert, allowHTTP1: true });
server.on('session', (session) => sessions.add(session));
server.on('request', (request, response) => {
  response.setHeader('content-type', 'application/json');
  setTimeout(() => response.end(JSON.stringify({
    plan: request.httpVersion, max_concurrent: sessions.size, max_snapshots: 0 })), 50);
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
"""


def test_http2_where_it_is_offered(tmp_path: pathlib.Path) -> None:
    node, openssl = shutil.which("node"), shutil.which("openssl")
    assert node and openssl, "node and openssl are needed for this test"
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate,
         "-days", "1", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True)  # fmt: skip
    server = subprocess.Popen([node, "-e", H2_SERVER, key, certificate], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin and server.stdout
    try:
        port = server.stdout.readline().strip()
        code = """
import concurrent.futures, json
from orkestr import Sandbox
first = Sandbox.limits()
with concurrent.futures.ThreadPoolExecutor(20) as pool:
    all = list(pool.map(lambda _: Sandbox.limits(), range(40)))
print(json.dumps([first.plan, max(one.max_concurrent for one in all)]))
"""
        environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower() and name != "CURL_CA_BUNDLE"}
        environment |= {"ORKESTR_API_KEY": "k", "ORKESTR_BASE_URL": f"https://127.0.0.1:{port}", "SSL_CERT_FILE": str(certificate)}
        version, sessions = json.loads(run_python(code, environment))
        assert version == "2.0"
        assert sessions == 1, "40 requests share one connection"
    finally:
        server.stdin.close()
        server.wait(10)
