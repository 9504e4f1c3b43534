# The interpreter of one code context of the test service: reads requests (one JSON object per line) from the FIFO it is given, writes events
# (likewise) to its standard output. What the code prints goes into events; what programs it starts print goes nowhere.
import ast
import base64
import json
import os
import signal
import sys
import traceback

LIMIT = 1 << 20  # characters of each output of a run


def text(value):
    return str(value).encode("utf-8", "replace").decode()


def say(kind, **fields):
    wire.write(json.dumps({"kind": kind, **fields}) + "\n")
    wire.flush()


class Output:
    encoding = "utf-8"

    def __init__(self, name):
        self.name, self.left = name, LIMIT

    def write(self, written):
        if len(written) > self.left and self.name not in truncated:
            truncated.append(self.name)
        kept, self.left = written[: self.left], self.left - min(self.left, len(written))
        if kept:
            say("stream", stream=self.name, text=text(kept))
        return len(written)

    def flush(self):
        pass

    def isatty(self):
        return False


def display(value):
    result = {"type": "text", "text": text(repr(value)), "html": None, "png": None, "json": None, "chart": None}
    for form, kind in (("json", "json"), ("html", "html"), ("png", "image_png"), ("chart", "chart")):
        method = getattr(type(value), f"_repr_{form}_", None)
        if method is not None:
            made = method(value)
            result[form] = base64.b64encode(made).decode() if form == "png" else made
            result["type"] = kind
    say("result", result=result)


def run(code):
    tree = ast.parse(code, "<cell>")
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), variables)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), variables)
        if value is not None:
            display(value)


signal.signal(signal.SIGINT, signal.SIG_IGN)
requests = os.fdopen(os.open(sys.argv[1], os.O_RDWR), "r", encoding="utf-8")
wire = os.fdopen(os.dup(1), "w", encoding="utf-8")
nothing = os.open("/dev/null", os.O_RDWR)
os.dup2(nothing, 1)
os.dup2(nothing, 2)
variables = {"__name__": "__main__", "display": display}
count = 0
truncated = []
say("ready")
for line in requests:
    code = json.loads(line)["code"]
    count += 1
    truncated.clear()
    sys.stdout, sys.stderr = Output("stdout"), Output("stderr")
    error, interrupted = None, False
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run(code)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except BaseException as raised:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        lines = [text(one) for one in traceback.format_exception(raised)]
        error = {"name": type(raised).__name__, "value": text(raised), "traceback": lines}
        interrupted = isinstance(raised, KeyboardInterrupt)
        say("error", error=error)
    say("done", execution_count=count, error=error, interrupted=interrupted, truncated=truncated)
