// Errors, descriptors, deadlines, clocks, identifiers, digests.
#include <cxxabi.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <set>
#include <vector>

#include "base/deadline.hpp"
#include "base/file.hpp"
#include "base/id.hpp"
#include "base/sha256.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "base/unique_fd.hpp"
#include "base_test_support.hpp"
#include "orkestr/error.hpp"
#include "orkestr/version.hpp"

using namespace orkestr;
using namespace orkestr::base;
using orkestr::base_test::must;
using orkestr::base_test::TempDir;
using namespace std::chrono_literals;

namespace {

constexpr int kCodes = static_cast<int>(ErrorCode::cancelled) + 1;

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }
bool is_cloexec(int fd) { return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0; }

template <class Exception>
bool raises(ErrorCode code) {
  try {
    Error(code, "text").raise();
  } catch (const Exception& e) {
    // The very class, not one derived from it: a caller that catches by class relies on it.
    return typeid(e) == typeid(Exception) && e.code() == code && std::string(e.what()) == "text";
  } catch (...) {
  }
  return false;
}

}  // namespace

TEST_CASE("error codes: every one has a name of its own, and the name leads back") {
  std::set<std::string_view> names;
  for (int i = 0; i < kCodes; ++i) {
    auto code = static_cast<ErrorCode>(i);
    CAPTURE(i);
    CHECK(names.insert(to_string(code)).second);
    CHECK(error_code_from_string(to_string(code)) == code);
  }
  CHECK(to_string(ErrorCode::fleet_full_retry) == "fleet_full_retry");
  CHECK(to_string(static_cast<ErrorCode>(kCodes)) == "internal");
  CHECK_FALSE(error_code_from_string("").has_value());
  CHECK_FALSE(error_code_from_string("Internal").has_value());
}

TEST_CASE("error codes: class and hint are those of the table") {
  for (int i = 0; i < kCodes; ++i) {
    const auto code = static_cast<ErrorCode>(i);
    CAPTURE(to_string(code));
    try {
      Error(code, "m").raise();
    } catch (const OrkestrError& error) {
      int failed = 0;
      char* thrown = abi::__cxa_demangle(typeid(error).name(), nullptr, nullptr, &failed);
      REQUIRE(failed == 0);
      CHECK(thrown == "orkestr::" + std::string(error_class(code)));
      std::free(thrown);
    }
    CHECK(error_hint(code).size() > 20);
    CHECK(error_hint(code).back() == '.');
  }
  CHECK(error_class(static_cast<ErrorCode>(kCodes)) == "OrkestrError");
}

TEST_CASE("error: raise throws the class of the code") {
  CHECK(raises<OrkestrError>(ErrorCode::internal));
  CHECK(raises<InvalidArgument>(ErrorCode::invalid_argument));
  CHECK(raises<AuthError>(ErrorCode::unauthorized));
  CHECK(raises<AuthError>(ErrorCode::forbidden));
  CHECK(raises<RateLimitError>(ErrorCode::rate_limited));
  for (auto code : {ErrorCode::plan_limit, ErrorCode::usage_exhausted, ErrorCode::trial_exhausted,
                    ErrorCode::lifetime_cap_reached, ErrorCode::session_cap_reached}) {
    CHECK(raises<PlanLimitError>(code));
  }
  CHECK(raises<SnapshotCapReached>(ErrorCode::snapshot_cap_reached));
  CHECK(raises<FleetFull>(ErrorCode::fleet_full_retry));
  CHECK(raises<SandboxNotFound>(ErrorCode::not_found));
  CHECK(raises<SandboxNotReady>(ErrorCode::not_ready));
  CHECK(raises<ExecTimeout>(ErrorCode::exec_timeout));
  CHECK(raises<ExecKilled>(ErrorCode::exec_killed));
  CHECK(raises<NetworkPolicyError>(ErrorCode::network_policy_blocked));
  CHECK(raises<InterpreterUnavailable>(ErrorCode::interpreter_unavailable));
  CHECK(raises<FileNotFound>(ErrorCode::file_not_found));
  CHECK(raises<NotPermitted>(ErrorCode::not_permitted));
  CHECK(raises<IsADirectory>(ErrorCode::is_a_directory));
  CHECK(raises<NotADirectory>(ErrorCode::not_a_directory));
  CHECK(raises<FileExists>(ErrorCode::file_exists));
  CHECK(raises<VolumeInUse>(ErrorCode::volume_in_use));
  CHECK(raises<TemplateNotFound>(ErrorCode::template_not_found));
  CHECK(raises<TemplateBuildError>(ErrorCode::template_build_failed));
  CHECK(raises<SnapshotIncompatible>(ErrorCode::snapshot_incompatible));
  CHECK(raises<NotSupported>(ErrorCode::not_supported));
  CHECK(raises<VmError>(ErrorCode::vm_failed));
  CHECK(raises<ConnectionError>(ErrorCode::connection));
  CHECK(raises<APIError>(ErrorCode::api));
  CHECK(raises<Cancelled>(ErrorCode::cancelled));
  CHECK_THROWS_AS(Error(ErrorCode::file_not_found, "").raise(), SandboxNotFound);  // the published client's promise
}

TEST_CASE("error: context goes before the message and keeps code and details") {
  ErrorDetails details;
  details.signal = 9;
  Error error(ErrorCode::exec_killed, "killed", details);
  Error outer = error.with_context("run make").with_context("build");
  CHECK(outer.message() == "build: run make: killed");
  CHECK(outer.code() == ErrorCode::exec_killed);
  CHECK(outer.details().signal == 9);
  CHECK(error.message() == "killed");
  CHECK(Error(ErrorCode::internal, "x").details().signal == 0);
}

TEST_CASE("result: value, error, TRY and CHECK") {
  auto half = [](int n) -> Result<int> {
    if (n % 2 != 0) return Error(ErrorCode::invalid_argument, "odd");
    return n / 2;
  };
  auto quarter = [&](int n) -> Result<int> {
    ORKESTR_TRY(int h, half(n));
    ORKESTR_TRY(int q, half(h));
    return q;
  };
  CHECK(quarter(8).value() == 2);
  CHECK(quarter(6).error().message() == "odd");
  CHECK_THROWS_AS(quarter(6).value(), InvalidArgument);
  auto check = [&](Result<void> r) -> Result<void> {
    ORKESTR_CHECK(r);
    return {};
  };
  CHECK(check({}).ok());
  CHECK_THROWS_AS(check(Error(ErrorCode::cancelled, "x")).value(), Cancelled);
}

TEST_CASE("version: compiled and linked agree") {
  CHECK(std::string(version()) == ORKESTR_VERSION);
  CHECK(std::string(version()) == std::to_string(ORKESTR_VERSION_MAJOR) + "." + std::to_string(ORKESTR_VERSION_MINOR) +
                                      "." + std::to_string(ORKESTR_VERSION_PATCH));
}

TEST_CASE("UniqueFd owns exactly one descriptor and leaves errno alone") {
  auto [a, b] = must(make_pipe());
  int raw = a.get();
  UniqueFd moved = std::move(a);
  CHECK(a.get() == -1);
  CHECK(moved.get() == raw);
  UniqueFd target = std::move(b);
  int dropped = target.get();
  errno = E2BIG;
  target = std::move(moved);
  CHECK(errno == E2BIG);
  CHECK_FALSE(is_open(dropped));
  CHECK(target.get() == raw);
  UniqueFd* self = &target;
  target = std::move(*self);
  CHECK(is_open(raw));
  int released = target.release();
  CHECK_FALSE(target);
  CHECK(is_open(released));
  { UniqueFd owner(released); }
  CHECK_FALSE(is_open(released));
}

TEST_CASE("deadline: rounding, never, and durations the clock cannot hold") {
  CHECK(Deadline::never().poll_timeout_ms() == -1);
  CHECK_FALSE(Deadline::never().expired());
  CHECK_FALSE(Deadline::never().remaining().has_value());
  CHECK(Deadline::after(0s).expired());
  CHECK(Deadline::after(-1h).poll_timeout_ms() == 0);
  CHECK(Deadline::after(-1h).remaining() == 0ns);
  int ms = Deadline::after(900us).poll_timeout_ms();
  CHECK(ms == 1);  // rounded down it would be 0 and the waiter would spin
  CHECK(Deadline::after(24h * 365).poll_timeout_ms() == INT_MAX);
  CHECK(Deadline::after(std::chrono::nanoseconds::max()).is_never());
  auto point = Deadline::Clock::now() + 5s;
  CHECK(Deadline::at(point).time_point() == point);
}

TEST_CASE("errno_error: code and text") {
  struct Row {
    int err;
    ErrorCode code;
  };
  for (auto [err, code] : std::vector<Row>{{ENOENT, ErrorCode::file_not_found},
                                           {EACCES, ErrorCode::not_permitted},
                                           {EPERM, ErrorCode::not_permitted},
                                           {EROFS, ErrorCode::not_permitted},
                                           {EISDIR, ErrorCode::is_a_directory},
                                           {ENOTDIR, ErrorCode::not_a_directory},
                                           {EEXIST, ErrorCode::file_exists},
                                           {ECONNREFUSED, ErrorCode::connection},
                                           {ECONNRESET, ErrorCode::connection},
                                           {ECONNABORTED, ErrorCode::connection},
                                           {EPIPE, ErrorCode::connection},
                                           {EIO, ErrorCode::internal},
                                           {ENOSPC, ErrorCode::internal}}) {
    CAPTURE(err);
    CHECK(errno_error("x", err).code() == code);
  }
  CHECK(errno_error("open /x/y", ENOENT).message() == "open /x/y: No such file or directory");
  CHECK(errno_error("open", 4242).message() == "open: error 4242");
}

TEST_CASE("pipes and sockets are close-on-exec") {
  auto [read_end, write_end] = must(make_pipe(O_NONBLOCK));
  CHECK(is_cloexec(read_end.get()));
  CHECK(is_cloexec(write_end.get()));
  char byte = 0;
  CHECK(::read(read_end.get(), &byte, 1) == -1);
  CHECK(errno == EAGAIN);
  must(set_nonblocking(read_end.get(), false));
  CHECK((::fcntl(read_end.get(), F_GETFL) & O_NONBLOCK) == 0);
  must(set_nonblocking(read_end.get(), true));
  CHECK((::fcntl(read_end.get(), F_GETFL) & O_NONBLOCK) != 0);
  CHECK_FALSE(set_nonblocking(-1, true).ok());

  auto [left, right] = must(socket_pair(SOCK_SEQPACKET | SOCK_NONBLOCK));
  CHECK(is_cloexec(left.get()));
  must(write_all(left.get(), "ab"));
  must(write_all(left.get(), "c"));
  char buffer[8];
  CHECK(::read(right.get(), buffer, sizeof buffer) == 2);  // packets, not a stream
}

TEST_CASE("write_all: a socket whose peer is gone is an error, not a SIGPIPE") {
  auto [left, right] = must(socket_pair(SOCK_STREAM));
  right.reset();
  CHECK(write_all(left.get(), "x").error().code() == ErrorCode::connection);
  CHECK_FALSE(write_all(-1, "x").ok());
  CHECK(write_all(-1, "").ok());
}

TEST_CASE("random bytes have their length and differ") {
  CHECK(random_bytes(0).empty());
  CHECK(random_bytes(1000).size() == 1000);
  CHECK(random_bytes(16) != random_bytes(16));
}

TEST_CASE("clocks") {
  auto wall = wall_clock_ms();
  CHECK(wall > 1'700'000'000'000);
  CHECK(wall_clock_ms() - wall < 10'000);
  auto boot = boot_clock_ms();
  CHECK(boot > 0);
  CHECK(boot_clock_ms() >= boot);
  CHECK(boot_id().size() == 36);
  CHECK(boot_id() == boot_id());
}

TEST_CASE("parse_iso8601_utc takes what iso8601_utc gives, and nothing but times") {
  for (const std::int64_t ms : {std::int64_t{0}, std::int64_t{1795241647123}, std::int64_t{951782400000}}) {
    CHECK(parse_iso8601_utc(iso8601_utc(ms)) == ms);
  }
  CHECK(parse_iso8601_utc("2026-11-21T06:14:07") == 1795241647000);
  CHECK(parse_iso8601_utc("2026-11-21T06:14:07.1Z") == 1795241647100);
  CHECK(parse_iso8601_utc("2026-11-21T06:14:07.1239Z") == 1795241647123);
  for (const char* bad :
       {"", "yesterday", "2026-11-21", "2026-11-21T06:14:07+01:00", "2026-11-21T06:14:07Zx", "2026-13-21T06:14:07Z"}) {
    CHECK_FALSE(parse_iso8601_utc(bad));
  }
  CHECK_FALSE(parse_iso8601_utc(std::string("2026-11-21T06:14:07\0Z", 21)));
}

TEST_CASE("iso8601_utc") {
  CHECK(iso8601_utc(0) == "1970-01-01T00:00:00.000Z");
  CHECK(iso8601_utc(1795241647123) == "2026-11-21T06:14:07.123Z");
  CHECK(iso8601_utc(951782399999) == "2000-02-28T23:59:59.999Z");
  CHECK(iso8601_utc(951782400000) == "2000-02-29T00:00:00.000Z");
  CHECK(iso8601_utc(-1) == "1969-12-31T23:59:59.999Z");
  CHECK(iso8601_utc(INT64_MAX) == "9999-12-31T23:59:59.999Z");
  CHECK(iso8601_utc(INT64_MIN) == "0000-01-01T00:00:00.000Z");
}

TEST_CASE("ULID: form, time, order") {
  std::string text = make_ulid(1469918176385);
  CHECK(text.substr(0, 10) == "01ARYZ6S41");  // the specification's own example
  CHECK(is_ulid(text));
  CHECK(make_ulid(0).substr(0, 10) == "0000000000");
  CHECK(make_ulid((std::int64_t{1} << 48) - 1).substr(0, 10) == "7ZZZZZZZZZ");
  CHECK(make_ulid(INT64_MAX).substr(0, 10) == "7ZZZZZZZZZ");
  CHECK(make_ulid(-5).substr(0, 10) == "0000000000");
  std::string last = make_ulid(0);
  for (std::int64_t ms = 1; ms < 2'000'000'000'000; ms = ms * 3 + 1) {
    std::string next = make_ulid(ms);
    CHECK(last < next);
    last = next;
  }
  std::set<std::string> seen;
  std::set<char> letters;
  for (int i = 0; i < 1000; ++i) {
    auto id = make_ulid(7);
    seen.insert(id);
    letters.insert(id.begin() + 10, id.end());
  }
  CHECK(seen.size() == 1000);
  CHECK(letters.size() == 32);  // every character of the alphabet is used
}

TEST_CASE("ULID and sandbox id: what is refused") {
  CHECK(is_ulid("7ZZZZZZZZZZZZZZZZZZZZZZZZZ"));
  for (const char* bad : {"", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "01ARYZ6S41TSV4RRFFQ69G5FA", "01ARYZ6S41TSV4RRFFQ69G5FAVX",
                          "01aryz6s41tsv4rrffq69g5fav", "01ARYZ6S41TSV4RRFFQ69G5FAI", "01ARYZ6S41TSV4RRFFQ69G5FAL",
                          "01ARYZ6S41TSV4RRFFQ69G5FAO", "01ARYZ6S41TSV4RRFFQ69G5FAU", "01ARYZ6S41TSV4RRFFQ69G5F/V",
                          " 1ARYZ6S41TSV4RRFFQ69G5FAV"}) {
    CAPTURE(bad);
    CHECK_FALSE(is_ulid(bad));
    CHECK_FALSE(is_sandbox_id("sbx_" + std::string(bad)));
  }
  CHECK_FALSE(is_ulid(std::string("01ARYZ6S41TSV4RRFFQ69G5FA\0", 26)));
  CHECK(is_sandbox_id(make_sandbox_id()));
  CHECK_FALSE(is_sandbox_id("sbx"));
  CHECK_FALSE(is_sandbox_id("SBX_01ARYZ6S41TSV4RRFFQ69G5FAV"));
  CHECK_FALSE(is_sandbox_id("sbx_../../../../../etc/passw"));
}

TEST_CASE("sha256: the standard's vectors, and files") {
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  std::string million(1'000'000, 'a');
  CHECK(sha256_hex(million) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  TempDir dir;
  must(write_file_atomic(dir / "a", million));
  CHECK(must(sha256_file(dir / "a")) == sha256_hex(million));
  CHECK(sha256_file(dir / "missing").error().code() == ErrorCode::file_not_found);
  CHECK(sha256_file(dir.path()).error().code() == ErrorCode::is_a_directory);
}
