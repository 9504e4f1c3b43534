// Output of a long command as it comes. Leaving the loop would leave it running; `cancel()` and an aborted signal kill it.
//
// expect: step 1
// expect: step 5
// expect: exit code 0
// expect: stopped: AbortError
import { Sandbox } from "orkestr";

const BUILD = "for i in 1 2 3 4 5; do echo step $i; sleep 0.3; done; echo warnings: 0 >&2";

await Sandbox.withTemp({ template: "python-3.12-bare" }, async (sandbox) => {
  const start = performance.now();
  for await (const chunk of sandbox.execStream(BUILD, { timeoutSeconds: 60 })) {
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    if (chunk.isFinal) console.log(`exit code ${chunk.exitCode} after ${chunk.durationMs} ms`);
    else process.stdout.write(`[${seconds} s] ${chunk.stream}: ${chunk.data}`);
  }

  try {
    await sandbox.exec("sleep 60", { signal: AbortSignal.timeout(500) });
  } catch (error) {
    console.log(`stopped: ${error.name}`);
  }
});
