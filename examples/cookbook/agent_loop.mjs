// An agent's loop: the model asks for a command, sees what it did, and asks for the next one, until it is content.
//
// The "model" here is a script, so that the example needs no key; put a call to yours in its place.
//
// expect: $ python3 -m unittest -q (exit code 1)
// expect: $ python3 -m unittest -q (exit code 0)
// expect: done: the tests pass
import { Sandbox } from "orkestr";

const PROJECT = {
  "/workspace/words.py": "def count(text):\n    return len(text.split(' '))\n",
  "/workspace/test_words.py":
    "import unittest\nimport words\n\n\n" +
    "class Words(unittest.TestCase):\n" +
    "    def test_count(self):\n" +
    "        self.assertEqual(words.count('two  words'), 2)\n",
};

// The next command, or undefined when there is nothing left to do.
async function model(history) {
  const last = history.at(-1);
  if (last?.command.includes("unittest") && last.exitCode === 0) return undefined;
  if (last?.output.includes("AssertionError: 3 != 2")) return "sed -i \"s/split(' ')/split()/\" words.py";
  return "python3 -m unittest -q";
}

await Sandbox.withTemp({ template: "python-3.12-bare", network: "off", timeoutSeconds: 300 }, async (sandbox) => {
  await sandbox.files.writeBatch(PROJECT);
  const history = [];
  let command;
  while (history.length < 10 && (command = await model(history)) !== undefined) {
    const { exitCode, stdout, stderr } = await sandbox.exec(command);
    history.push({ command, exitCode, output: stdout + stderr });
    console.log(`$ ${command} (exit code ${exitCode})`);
  }
  console.log(history.at(-1).exitCode === 0 ? "done: the tests pass" : "gave up");
});
