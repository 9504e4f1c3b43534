// Pause and resume on a real machine: what a sandbox keeps, who may resume it, and what the others are told.
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "base/file.hpp"
#include "orkestr/host.hpp"
#include "stateful.hpp"
#include "support/processes.hpp"

namespace orkestr::testing {

namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

bool says(const Error& error, std::string_view part) { return error.message().find(part) != std::string::npos; }

// Changes one member of a sandbox's record, which nobody holds.
void edit_record(const World& in, const std::string& id, const std::string& from, const std::string& to) {
  const std::string path = in.sandboxes_dir() + "/" + id + "/record.json";
  std::string json = must(base::read_file(path));
  const auto at = json.find(from);
  REQUIRE_MESSAGE(at != std::string::npos, json);
  const auto end = json.find_first_of(",}", at + from.size());
  json.replace(at, end - at, to);
  must(base::write_file_atomic(path, json));
}

// A process of its own, with a client of its own; its exit code.
class OtherProcess {
 public:
  explicit OtherProcess(const std::function<int(Client&)>& body) : pid_(::fork()) {
    REQUIRE(pid_ >= 0);
    if (pid_ != 0) return;
    ClientOptions options;
    options.backend = BackendKind::local;
    auto own = Client::open(options);
    ::_exit(own ? body(*own) : 99);
  }
  ~OtherProcess() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }
  OtherProcess(const OtherProcess&) = delete;
  OtherProcess& operator=(const OtherProcess&) = delete;
  void kill() const { ::kill(pid_, SIGKILL); }
  int wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_;
};

int resume_and_look(const std::string& id, Client& own) {
  auto resumed = Sandbox::resume(id, {}, own);
  if (!resumed) return 1;
  auto looked = resumed->exec("cat /run/loop.pid");
  return looked && looked->exit_code == 0 ? 0 : 2;
}

}  // namespace

TEST_SUITE_BEGIN("pause");

TEST_CASE("a sandbox keeps its processes, memory and files over many pauses") {
  Stateful state;
  for (int i = 1; i <= 20 * test_scale(); ++i) state.cycle(fmt::format("cycle {}", i));
  CHECK(started_from(state.sandbox()) == "pause");
  state.terminate();
  check_no_leftovers(world(), "after the cycles");
}

TEST_CASE("paused: what it says, what it refuses, and that its clock stands still") {
  auto options = create_options();
  options.timeout = 120s;
  options.metadata = {{"kept", "yes"}};
  options.env = {{"GREETING", "hello"}};
  auto sandbox = must(Sandbox::create(options, client()));
  const auto first_end = sandbox.info().expires_at;
  must(sandbox.set_timeout(600s));
  must(sandbox.pause());
  for (const Process& process : processes_of(sandbox.id())) CHECK(process.pid == getpid());  // its handle's
  must(sandbox.refresh());
  CHECK(sandbox.info().status == Status::paused);
  const auto listed = must(Sandbox::list({.status = Status::paused}, client()));
  CHECK(std::count_if(listed.begin(), listed.end(), [&](const auto& info) { return info.id == sandbox.id(); }) == 1);
  for (const Error& error :
       {must_fail(sandbox.exec("true"), ErrorCode::not_ready),
        must_fail(sandbox.files().read("/etc/hostname"), ErrorCode::not_ready),
        must_fail(sandbox.files().list("/"), ErrorCode::not_ready), must_fail(sandbox.pause(), ErrorCode::not_ready),
        must_fail(sandbox.set_timeout(60s), ErrorCode::not_ready)}) {
    CHECK_MESSAGE(says(error, "is paused; resume it first"), error.message());
  }
  auto resumed = must(Sandbox::resume(sandbox.id(), {}, client()));
  CHECK(resumed.id() == sandbox.id());
  CHECK(resumed.info().metadata == options.metadata);
  CHECK(must(resumed.exec("echo $GREETING")).stdout_data == "hello\n");
  CHECK(must(sandbox.exec("echo the first handle, too")).exit_code == 0);
  // The life span that was asked for last, from now on.
  CHECK(resumed.info().expires_at > first_end);
  CHECK(resumed.info().expires_at > std::chrono::system_clock::now() + 500s);
  CHECK(must(Sandbox::resume(sandbox.id(), {}, client())).info().status == Status::running);
  must(resumed.terminate());
  must_fail(Sandbox::resume(sandbox.id(), {}, client()), ErrorCode::not_ready);
  must_fail(Sandbox::resume("sbx_01ARZ3NDEKTSV4RRFFQ69G5FAV", {}, client()), ErrorCode::not_found);
  // Paused ones can be terminated as they are.
  auto other = must(Sandbox::create(create_options(), client()));
  must(other.pause());
  must(other.terminate());
  CHECK(status_of(other.id()) == Status::terminated);
  check_no_leftovers(world(), "after terminating");
}

TEST_CASE("after an hour's pause the clock is right before the first command") {
  Stateful state;
  must(state.sandbox().exec("date -s @$(($(date +%s) - 3600))"));
  must(state.sandbox().pause());
  const std::string path = world().sandboxes_dir() + "/" + state.id() + "/pause/manifest.json";
  std::string manifest = must(base::read_file(path));
  const std::string field = "\"paused_at_ms\":";
  const auto at = manifest.find(field) + field.size();
  const long long then = std::stoll(manifest.substr(at));
  manifest.replace(at, manifest.find_first_of(",}", at) - at, std::to_string(then - 3'600'000));
  must(base::write_file_atomic(path, manifest));
  state.resume();
  state.check("after an hour");
  state.terminate();
}

TEST_CASE("auto_resume: an operation on the paused sandbox resumes it first") {
  auto options = create_options();
  options.auto_resume = true;
  Stateful state(options);
  CHECK(state.sandbox().info().auto_resume);
  must(state.sandbox().pause());
  state.check("by an operation");
  must(state.sandbox().pause());
  CHECK(must(state.sandbox().files().read("/run/loop.pid")).size() > 1);
  must(state.sandbox().pause());
  // Several at once resume it once.
  std::vector<Operation<ExecResult>> pending;
  for (int i = 0; i < 8; ++i) pending.push_back(state.sandbox().exec_async(fmt::format("echo {}", i)));
  for (int i = 0; i < 8; ++i) CHECK(must(pending[i].get()).stdout_data == fmt::format("{}\n", i));
  state.check("by several operations");
  // Its end is no reason to.
  must(state.sandbox().pause());
  state.terminate();
}

TEST_CASE("on_timeout pause: parked when its time is over, with a fresh life span when it is resumed") {
  auto options = create_options();
  options.on_timeout = OnTimeout::pause;
  options.timeout = 3600s;
  Stateful state(options);
  must(state.sandbox().set_timeout(10s));
  ExecOptions long_one;
  long_one.timeout = 1000s;
  auto waiting = state.sandbox().exec_async("sleep 600", long_one);
  await_status(state.id(), Status::paused);
  const auto cut = must_fail(waiting.get(), ErrorCode::not_ready);
  CHECK_MESSAGE(says(cut, "was paused"), cut.message());
  state.resume();
  CHECK(state.sandbox().info().expires_at > std::chrono::system_clock::now() + 5s);
  must(state.sandbox().set_timeout(3600s));
  state.check("parked by its timeout");
  state.terminate();
}

TEST_CASE("paused_ttl: a paused sandbox is given up at its time, by whoever looks, and by gc") {
  World own(World::Cache::copy);  // gc() is thorough
  for (const bool by_gc : {false, true}) {
    CAPTURE(by_gc);
    auto options = create_options();
    options.paused_ttl = 60s;
    auto sandbox = must(Sandbox::create(options, client()));
    must(sandbox.pause());
    must(sandbox.refresh());
    REQUIRE(sandbox.info().paused_expires_at);
    CHECK(*sandbox.info().paused_expires_at > std::chrono::system_clock::now() + 30s);
    auto resumed = must(Sandbox::resume(sandbox.id(), {}, client()));
    CHECK_FALSE(resumed.info().paused_expires_at);
    must(resumed.pause());
    edit_record(own, sandbox.id(), "\"paused_expires_at_ms\":", "\"paused_expires_at_ms\":1000");
    if (by_gc) {
      const auto report = must(gc());
      CHECK(std::count(report.reaped.begin(), report.reaped.end(), sandbox.id()) == 1);
    } else {
      must_fail(Sandbox::resume(sandbox.id(), {}, client()), ErrorCode::not_ready);
    }
    const auto entry = must(Sandbox::get(sandbox.id(), client())).info();
    CHECK(entry.status == Status::terminated);
    CHECK_MESSAGE(entry.end_reason.find("kept paused") != std::string::npos, entry.end_reason);
  }
  check_no_leftovers(own, "after they expired");
}

TEST_CASE("as many may be paused as are allowed; one too many runs on") {
  World own(World::Cache::shared);
  // (A supervisor has its rules from the call that started it.)
  ScopedVariable cap("ORKESTR_MAX_SNAPSHOTS", "1");
  CHECK(must(Sandbox::limits(client())).max_snapshots == 1);
  auto first = must(Sandbox::create(create_options(), client()));
  Stateful second;
  must(first.pause());
  const auto refused = must_fail(second.sandbox().pause(), ErrorCode::snapshot_cap_reached);
  CHECK_MESSAGE(says(refused, "ORKESTR_MAX_SNAPSHOTS"), refused.message());
  second.check("after it could not be paused");
  must(first.terminate());
  second.cycle("when there is room");
  second.terminate();
  check_no_leftovers(own, "the cap");
}

TEST_CASE("two processes that resume one id get the same running sandbox") {
  Stateful state;
  for (int round = 0; round < 2 * test_scale(); ++round) {
    must(state.sandbox().pause());
    std::vector<std::unique_ptr<OtherProcess>> others;
    for (int i = 0; i < 4; ++i) {
      others.push_back(
          std::make_unique<OtherProcess>([id = state.id()](Client& own) { return resume_and_look(id, own); }));
    }
    for (auto& other : others) CHECK(other->wait() == 0);
    CHECK(status_of(state.id()) == Status::running);
    state.check("resumed by several");
  }
  state.terminate();
  check_no_leftovers(world(), "after several resumes");
}

TEST_CASE("a process that dies while it resumes leaves the sandbox paused, or running") {
  Stateful state;
  for (int moment = 0; moment < 8 * test_scale(); ++moment) {
    CAPTURE(moment);
    must(state.sandbox().pause());
    {
      OtherProcess other([id = state.id()](Client& own) { return resume_and_look(id, own); });
      std::this_thread::sleep_for(std::chrono::milliseconds(moment % 8 * 40));  // anywhere within
      other.kill();
    }
    state.resume();
    state.check("after its resumer died");
  }
  state.terminate();
  check_no_leftovers(world(), "after resumers died");
}

TEST_CASE("resume during pause, pause during resume, terminate during both") {
  Stateful state;
  auto other = new_client();
  for (int round = 0; round < 4 * test_scale(); ++round) {
    CAPTURE(round);
    auto pausing = state.sandbox().pause_async();
    if (round % 2 == 1) std::this_thread::sleep_for(std::chrono::milliseconds(20 * round));
    auto resuming = Sandbox::resume_async(state.id(), {}, other);
    must(pausing.get());
    auto resumed = resuming.get();
    // Either it came before the pause, which then had the last word, or after it.
    REQUIRE_MESSAGE(resumed.ok(), (resumed ? "" : resumed.error().message()));
    state.resume();
    state.check("resumed while it was paused");

    must(state.sandbox().pause());
    resuming = Sandbox::resume_async(state.id(), {}, other);
    if (round % 2 == 1) std::this_thread::sleep_for(std::chrono::milliseconds(20 * round));
    auto paused = state.sandbox().pause();
    must(resuming.get());
    if (!paused) CHECK_MESSAGE(paused.error().code() == ErrorCode::not_ready, paused.error().message());
    CHECK(status_of(state.id()) == (paused ? Status::paused : Status::running));
    state.resume();
    state.check("paused while it was resumed");
  }
  state.terminate();

  for (int moment = 0; moment < 4 * test_scale(); ++moment) {
    CAPTURE(moment);
    const auto a_moment = std::chrono::milliseconds(moment % 4 * 30);
    auto sandbox = must(Sandbox::create(create_options(), client()));
    auto pausing = sandbox.pause_async();
    std::this_thread::sleep_for(a_moment);
    must(must(Sandbox::get(sandbox.id(), other)).terminate());
    (void)pausing.get().ok();  // either is right
    CHECK(status_of(sandbox.id()) == Status::terminated);

    sandbox = must(Sandbox::create(create_options(), client()));
    must(sandbox.pause());
    auto resuming = Sandbox::resume_async(sandbox.id(), {}, client());
    std::this_thread::sleep_for(a_moment);
    must(must(Sandbox::get(sandbox.id(), other)).terminate());
    (void)resuming.get().ok();
    CHECK(status_of(sandbox.id()) == Status::terminated);
  }
  other.close();
  check_no_leftovers(world(), "after terminating in between");
}

TEST_CASE("terminate of a sandbox whose resume hangs: it is terminated, and not paused for ever") {
  auto sandbox = must(Sandbox::create(create_options(), client()));
  must(sandbox.pause());
  auto resuming = [&] {
    ScopedVariable failpoint("ORKESTR_FAILPOINT", "resume.disk:stop");
    auto begun = Sandbox::resume_async(sandbox.id(), {}, client());
    for (int i = 0; i < 500 && status_of(sandbox.id()) != Status::resuming; ++i) std::this_thread::sleep_for(10ms);
    std::this_thread::sleep_for(300ms);  // the supervisor reads the variable when it gets there
    return begun;
  }();
  auto other = new_client();
  must(must(Sandbox::get(sandbox.id(), other)).terminate());
  CHECK(status_of(sandbox.id()) == Status::terminated);
  CHECK_FALSE(resuming.get().ok());
  check_no_leftovers(world(), "after a resume that hung");
}

TEST_CASE("a pause in the middle of heavy output: the stream ends with a reason, the command goes on") {
  Stateful state;
  ExecOptions long_one;
  long_one.timeout = 1000s;
  auto stream = must(state.sandbox().exec_stream(
      "while true; do echo $((++n)) >/run/steps.new; mv /run/steps.new /run/steps; head -c 1M /dev/zero; done",
      long_one));
  std::size_t bytes = 0;
  while (bytes < (8U << 20U)) {
    auto chunk = must(stream.next());
    REQUIRE(chunk);
    bytes += chunk->data.size();
  }
  auto pausing = state.sandbox().pause_async();
  Result<std::optional<ExecChunk>> chunk = stream.next();
  while (chunk.ok() && chunk->has_value()) chunk = stream.next();
  const auto cut = must_fail(chunk, ErrorCode::not_ready);
  CHECK_MESSAGE(says(cut, "was paused"), cut.message());
  must(pausing.get());
  state.resume();
  state.check("after heavy output");
  CHECK(must(state.sandbox().exec(
                 "a=$(cat /run/steps); for ((i = 0; i < 500; i++)); do (($(cat /run/steps) > a)) && exit "
                 "0; sleep 0.05; done; exit 1"))
            .exit_code == 0);
  state.terminate();
}

TEST_CASE("a pause in the middle of a large upload: it ends with a reason, and nothing of it is there") {
  Stateful state;
  auto writer = must(state.sandbox().files().write_stream("/workspace/large"));
  const std::string piece(1U << 20U, 'u');
  for (int i = 0; i < 32; ++i) must(writer.write(piece));
  auto pausing = state.sandbox().pause_async();
  Result<void> wrote;
  for (int i = 32; i < 1024 && wrote.ok(); ++i) wrote = writer.write(piece);
  if (wrote) wrote = writer.finish();
  REQUIRE_FALSE(wrote.ok());
  CHECK_MESSAGE(wrote.error().code() == ErrorCode::not_ready, wrote.error().message());
  CHECK_MESSAGE(says(wrote.error(), "was paused"), wrote.error().message());
  must(pausing.get());
  state.resume();
  state.check("after an upload");
  CHECK_FALSE(must(state.sandbox().files().exists("/workspace/large")));
  state.terminate();
}

TEST_CASE("a paused sandbox does not care what becomes of its template and its snapshot") {
  World own(World::Cache::copy);
  Stateful state(own_options());
  CHECK(started_from(state.sandbox()) == "snapshot");
  must(state.sandbox().pause());
  must(Template::remove(kTemplate, client()));
  fs::remove_all(own.cache_dir() + "/templates");
  fs::remove_all(own.cache_dir() + "/snapshots");
  fs::remove_all(own.cache_dir() + "/kernels");
  must(gc());
  state.resume();
  state.check("without its template");
  state.cycle("once more");
  state.terminate();
  check_no_leftovers(own, "without a template");
}

TEST_SUITE_END();

}  // namespace orkestr::testing
