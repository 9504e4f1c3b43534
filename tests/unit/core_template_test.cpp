// create() and templates: what is missing is built, where, and how that ends early.
#include <doctest/doctest.h>
#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "core/handles.hpp"
#include "core/workers.hpp"
#include "idle_backend.hpp"
#include "orkestr/orkestr.hpp"

using namespace orkestr;
using namespace std::chrono_literals;

namespace {

// A host on which a template is missing until it is built.
struct Host final : IdleBackend {
  std::atomic<bool> built{false};
  std::atomic<int> creates{0};
  std::atomic<int> builds{0};
  std::atomic<bool> building{false};
  std::atomic<std::thread::id> builder;
  Error failure{ErrorCode::internal, ""};
  bool fails = false;
  bool endless = false;

  CancelFunction create(CreateOptions options, Completion<OpenedSandbox> done) override {
    ++creates;
    if (built) {
      OpenedSandbox opened;
      opened.info.id = "sbx_1";
      opened.info.template_name = options.template_name;
      done(std::move(opened));
    } else {
      done(Error(ErrorCode::template_not_found, "not built"));
    }
    return [] {};
  }
  Result<TemplateInfo> build_template(const std::string& name, const TemplateBuildOptions& options,
                                      const std::stop_token& stop) override {
    ++builds;
    builder = std::this_thread::get_id();
    building = true;
    if (options.on_progress) options.on_progress({name, "base system", 1, 2, "", 0ms});
    while (endless && !stop.stop_requested()) std::this_thread::sleep_for(1ms);
    if (stop.stop_requested()) return Error(ErrorCode::cancelled, "cancelled");
    if (fails) return failure;
    built = true;
    TemplateInfo info;
    info.name = name;
    return info;
  }
  Result<TemplateInfo> prepare_template(const std::string& name, const TemplateBuildOptions& options,
                                        const std::stop_token& stop) override {
    return build_template(name, options, stop);
  }
  Result<std::vector<TemplateInfo>> list_templates() override { return std::vector<TemplateInfo>(3); }
  Result<TemplateInfo> inspect_template(const std::string& name) override {
    TemplateInfo info;
    info.name = name;
    return info;
  }
  Result<void> remove_template(const std::string& name) override {
    return Error(ErrorCode::template_not_found, "no " + name);
  }
};

struct Fixture {
  std::shared_ptr<Host> host = std::make_shared<Host>();
  Client client{std::make_shared<ClientImpl>(core::IoThread::create().value(), host)};
  std::atomic<int> told{0};

  CreateOptions options() {
    CreateOptions options;
    options.template_name = "thing";
    options.on_progress = [this](const TemplateProgress& p) { told += p.template_name == "thing" ? 1 : 100; };
    return options;
  }
};

}  // namespace

TEST_CASE("create builds a missing template in the caller's thread, once, and tells about it") {
  Fixture f;
  auto sandbox = Sandbox::create(f.options(), f.client);
  REQUIRE_MESSAGE(sandbox, sandbox.error().message());
  CHECK(sandbox->info().template_name == "thing");
  CHECK(f.host->builder.load() == std::this_thread::get_id());
  CHECK(f.told == 1);
  REQUIRE(Sandbox::create(f.options(), f.client));
  CHECK(f.host->builds == 1);
  CHECK(f.host->creates == 3);
}

TEST_CASE("create_async builds on a thread of the client") {
  Fixture f;
  auto pending = Sandbox::create_async(f.options(), f.client);
  REQUIRE(pending.wait(10s));
  REQUIRE(pending.get());
  CHECK(f.host->builder.load() != std::this_thread::get_id());
  CHECK(f.told == 1);
  CHECK(f.host->builds == 1);
}

TEST_CASE("without auto_build a missing template is refused; a failed build is the error of create") {
  Fixture f;
  auto options = f.options();
  SUBCASE("auto_build is off") {
    options.auto_build = false;
    CHECK(Sandbox::create(options, f.client).error().code() == ErrorCode::template_not_found);
    CHECK(Sandbox::create_async(options, f.client).get().error().code() == ErrorCode::template_not_found);
    CHECK(f.host->builds == 0);
  }
  SUBCASE("the build fails") {
    f.host->fails = true;
    f.host->failure = Error(ErrorCode::template_build_failed, "no mirror");
    CHECK(Sandbox::create(options, f.client).error().message() == "no mirror");
    CHECK(Sandbox::create_async(options, f.client).get().error().message() == "no mirror");
    CHECK(f.host->builds == 2);
    CHECK(f.host->creates == 2);
  }
}

TEST_CASE("a build ends soon when its operation is cancelled, and when the client closes") {
  Fixture f;
  f.host->endless = true;
  auto pending = Sandbox::create_async(f.options(), f.client);
  auto other = Template::build_async("thing", {}, f.client);
  while (!f.host->building) std::this_thread::sleep_for(1ms);
  SUBCASE("cancelled") {
    pending.cancel();
    other.cancel();
  }
  SUBCASE("closed") { f.client.close(); }
  REQUIRE(pending.wait(5s));
  REQUIRE(other.wait(5s));
  CHECK(pending.get().error().code() == ErrorCode::cancelled);
  CHECK(other.get().error().code() == ErrorCode::cancelled);
  f.client.close();
  CHECK(Template::build_async("thing", {}, f.client).get().error().code() == ErrorCode::not_ready);
}

TEST_CASE("the functions of Template reach the backend") {
  Fixture f;
  CHECK(Template::build("thing", {}, f.client)->name == "thing");
  CHECK(Template::prepare("thing", {}, f.client)->name == "thing");
  CHECK(Template::prepare_async("thing", {}, f.client).get()->name == "thing");
  CHECK(Template::list(f.client)->size() == 3);
  CHECK(Template::inspect("x", f.client)->name == "x");
  CHECK(Template::remove("x", f.client).error().message() == "no x");
}

TEST_CASE("workers: signals are blocked, ended ones are reaped, the last handle may go on one of them") {
  {
    core::Workers workers;
    std::atomic<int> ran{0};
    std::atomic<bool> blocked{false};
    for (int i = 0; i < 100; ++i) {
      REQUIRE(workers.run([&](const std::stop_token&) {
        sigset_t set;
        pthread_sigmask(SIG_SETMASK, nullptr, &set);
        blocked = sigismember(&set, SIGINT) == 1;
        ++ran;
      }));
    }
    workers.close();
    CHECK(ran == 100);
    CHECK(blocked);
    CHECK_FALSE(workers.run([](const std::stop_token&) {}));
  }
  for (int i = 0; i < 50; ++i) {
    std::atomic<bool> gone{false};
    auto workers = std::make_shared<core::Workers>();
    std::weak_ptr<core::Workers> watched = workers;
    auto* raw = workers.get();
    REQUIRE(raw->run([own = std::move(workers), &gone](const std::stop_token&) mutable {
      own.reset();
      gone = true;
    }));
    while (!gone) std::this_thread::yield();
    CHECK(watched.expired());
  }
}

TEST_CASE("workers: looks take turns on a few threads, in order, and none is lost at the end") {
  constexpr int kTurns = core::Workers::kTurns;
  core::Workers workers;
  std::mutex mutex;
  std::condition_variable changed;
  int begun = 0;
  int allowed = 0;
  std::vector<int> order;
  for (int i = 0; i < kTurns; ++i) {
    workers.run_in_turn([&, i](const std::stop_token&) {
      std::unique_lock lock(mutex);
      ++begun;
      changed.notify_all();
      changed.wait(lock, [&] { return allowed > i; });
    });
  }
  const auto wait_for = [&](auto condition) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, 20s, condition);
  };
  REQUIRE(wait_for([&] { return begun == kTurns; }));
  // Every thread is busy: these wait, and one thread that gets free takes them one after the other.
  for (int i = 0; i < 3; ++i) {
    workers.run_in_turn([&, i](const std::stop_token&) {
      std::lock_guard lock(mutex);
      order.push_back(i);
      changed.notify_all();
    });
  }
  std::this_thread::sleep_for(20ms);
  {
    std::lock_guard lock(mutex);
    CHECK(order.empty());
    allowed = 1;
    changed.notify_all();
  }
  REQUIRE(wait_for([&] { return order.size() == 3; }));
  CHECK(order == std::vector<int>{0, 1, 2});
  {
    std::lock_guard lock(mutex);
    allowed = kTurns;
    changed.notify_all();
  }

  std::atomic<bool> waiting{false};
  std::atomic<bool> told{false};
  workers.run_in_turn([&](const std::stop_token& closing) {
    waiting = true;
    while (!closing.stop_requested()) std::this_thread::yield();
    told = true;
  });
  while (!waiting) std::this_thread::yield();
  workers.close();
  CHECK(told);
  // No thread any more: it is done at once.
  bool here = false;
  workers.run_in_turn([&](const std::stop_token&) { here = true; });
  CHECK(here);

  // The last handle may go here too.
  std::atomic<bool> gone{false};
  auto last = std::make_shared<core::Workers>();
  auto* raw = last.get();
  raw->run_in_turn([own = std::move(last), &gone](const std::stop_token&) mutable {
    own.reset();
    gone = true;
  });
  while (!gone) std::this_thread::yield();
}
