// Builds what the package carries, into prebuilt/: `npm install ./bindings/node` and `npm pack` run it in a checkout. An installed
// package has it already and runs nothing. The build directory is ../../build-npm; nothing but npm's own packages is fetched.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = fileURLToPath(new URL("../..", import.meta.url));
const build = `${root}build-npm`;

if (!existsSync(`${root}CMakeLists.txt`)) {
  console.error("orkestr: this is not in a checkout of orkestr, and only there it can be built; install the packed tarball instead");
  process.exit(1);
}

// (As ./dev does: two clones share what the compiler has done.)
const env = { CCACHE_BASEDIR: root, CCACHE_NOHASHDIR: "true", ...process.env };
const run = (program, ...args) => {
  try {
    execFileSync(program, args, { cwd: here, stdio: "inherit", env });
  } catch (error) {
    console.error(`orkestr: \`${program} ${args.join(" ")}\` failed: ${error.message}\n`
      + "What a build needs is installed by `./dev build` in the checkout (`./dev help` lists it).");
    process.exit(1);
  }
};
const found = (program) => process.env.PATH.split(":").some((directory) => existsSync(`${directory}/${program}`));

if (!existsSync(`${here}node_modules/node-addon-api`)) run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund");
// The flags of `./dev build`, so that the compiler cache serves both.
const launcher = found("ccache") ? ["-DCMAKE_C_COMPILER_LAUNCHER=ccache", "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] : [];
const defines = ["TESTS=OFF", "PYTHON=OFF", "NODE=ON", "NODE_PACKAGE=ON", "SANITIZE="].map((one) => `-DORKESTR_${one}`);
run("cmake", "-S", root, "-B", build, ...(found("ninja") ? ["-G", "Ninja"] : []), "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
  "-DCMAKE_INSTALL_LIBDIR=lib", ...defines, ...launcher);
run("cmake", "--build", build, "--parallel", "--target", "orkestr_node", "sandbox", "orkestr", "orkestr-supervisor", "orkestr-agent", "orkestr-ro");
rmSync(`${here}prebuilt`, { recursive: true, force: true });
run("cmake", "--install", build, "--component", "node", "--prefix", `${here}prebuilt`);
// (npm packs no links.)
copyFileSync(`${root}LICENSE`, `${here}LICENSE`);
copyFileSync(`${root}third_party/NOTICES`, `${here}NOTICES`);
