"""Data in, artifact out: a table goes into the sandbox, pandas and matplotlib make a chart of it, the PNG comes back.

expect: best month: May (310)
expect: a PNG of
"""

import struct
import tempfile
from pathlib import Path

from orkestr import Sandbox

SALES = "month,sales\nJan,120\nFeb,90\nMar,180\nApr,240\nMay,310\nJun,280\n"

ANALYSIS = """
import pandas as pd

sales = pd.read_csv("sales.csv")
best = sales.loc[sales["sales"].idxmax()]
print(f"best month: {best['month']} ({best['sales']})")

import matplotlib
matplotlib.use("Agg")
sales.plot.bar(x="month", y="sales").figure.savefig("chart.png", dpi=50)
"""


def main() -> None:
    # The data libraries take their time to import under emulation.
    with Sandbox.create("python-3.12", memory_mb=2048) as sandbox:
        sandbox.files.write("/workspace/sales.csv", SALES)
        sandbox.files.write("/workspace/analysis.py", ANALYSIS)
        result = sandbox.exec("python3 analysis.py", timeout_seconds=300)
        if result.exit_code != 0:
            raise SystemExit(result.stderr)
        print(result.stdout, end="")
        png = sandbox.files.read_bytes("/workspace/chart.png")

    width, height = struct.unpack(">II", png[16:24])
    with tempfile.TemporaryDirectory() as directory:
        chart = Path(directory, "chart.png")
        chart.write_bytes(png)
        print(f"a PNG of {width} x {height} pixels, {chart.stat().st_size} bytes")


if __name__ == "__main__":
    main()
