// A throwaway computer, a file, a command, its output: the smallest useful program.
//
// Run it from the checkout with `./dev node examples/quickstart.mjs`.
//
// expect: Data processed: mean=
// expect: not allowed to write /etc/passwd: not_permitted
// expect: no error, just the result: 7
import { NotPermitted, Sandbox } from "orkestr";

await Sandbox.withTemp({ template: "python-3.12-bare" }, async (sandbox) => {
  await sandbox.files.write(
    "/workspace/main.py",
    "numbers = range(1_000_000)\nprint(f'Data processed: mean={sum(numbers) / len(numbers)}')\n",
  );
  const result = await sandbox.exec("python3 main.py");
  console.log(result.stdout.trimEnd());
  console.log(`in ${result.durationMs} ms on ${sandbox.backend}/${sandbox.accelerator}`);

  // A command that fails is a result, not an error...
  console.log(`no error, just the result: ${(await sandbox.exec("exit 7")).exitCode}`);
  // ...and what is refused says why.
  try {
    await sandbox.files.write("/etc/passwd", "");
  } catch (error) {
    if (!(error instanceof NotPermitted)) throw error;
    console.log(`not allowed to write /etc/passwd: ${error.code}`);
  }
});
