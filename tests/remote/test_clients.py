"""Which client a call uses, and how many there are."""

from __future__ import annotations

from conftest import Service, run_python


def test_calls_with_the_same_key_share_a_client(service: Service):
    code = """
import os
from orkestr import Sandbox
key = os.environ["ORKESTR_API_KEY"]
threads = lambda: len(os.listdir("/proc/self/task"))
Sandbox.limits(api_key=key)
before = threads()
for _ in range(30):
    Sandbox.limits(api_key=key)
print(threads() - before < 10)
"""
    # (The resolver has threads that come and go; clients of their own would be 30.)
    service.clear()
    assert run_python(code, service.environment) == "True\n"
    assert len({request["connection"] for request in service.requests()}) == 1


def test_a_forked_child_has_a_client_of_its_own(service: Service):
    code = """
import os
from orkestr import Sandbox
key = os.environ["ORKESTR_API_KEY"]
Sandbox.limits(api_key=key)
if (child := os.fork()) == 0:
    Sandbox.limits(api_key=key)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
Sandbox.limits(api_key=key)
"""
    assert run_python(code, service.environment) == "0\n"


def test_the_client_then_the_key_then_the_default_then_the_environment(service: Service):
    code = """
import orkestr
from orkestr import AuthError, OrkestrClient, Sandbox

def ask(**how):
    try:
        Sandbox.limits(**how)
    except AuthError:
        pass

ask(client=OrkestrClient("of-client"), api_key="of-call")
orkestr.set_default_client(OrkestrClient("of-default"))
ask(api_key="of-call")
ask(client=None, api_key=None)
orkestr.set_default_client(None)
ask()
ask(api_key="")
"""
    service.clear()
    run_python(code, service.environment)
    keys = [request["headers"]["authorization"].removeprefix("Bearer ") for request in service.requests()]
    assert keys == ["of-client", "of-call", "of-default", "test-key", "test-key"]
