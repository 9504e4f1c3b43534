// The table of operations: rules of both sides, credit, loss of clients, backstops.
#include <set>

#include "supervisor_table.hpp"

using namespace orkestr;
using namespace orkestr::test;
using namespace std::chrono_literals;

TEST_CASE("operations: ids are rewritten both ways, and two clients may use the same") {
  Table t;
  const auto first = t.open(kA, exec(7));
  const auto second = t.open(kB, exec(7));
  CHECK(first != second);
  CHECK(t.from_guest(started(second)));
  REQUIRE(t.clients.size() == 1);
  CHECK(t.clients[0].first == kB);
  CHECK(t.clients[0].second.id == 7);
  CHECK(t.from_guest(started(first)));
  CHECK(t.from_guest(exec_result(first)));
  CHECK(t.clients.back().first == kA);
  CHECK(t.clients.back().second.type == Type::result);
  CHECK(t.operations.size() == 1);
}

TEST_CASE(
    "operations: a client's ids increase; what comes late for an ended one is dropped, for a future one is a fault") {
  Table t;
  const auto id = t.open_started(kA, exec(5, true));
  CHECK(t.from_guest(exec_result(id)));
  t.forget();
  CHECK(t.client(kA, credit(5, 10)));
  CHECK(t.client(kA, data(5, "x", wire::Stream::input)));
  CHECK(t.client(kA, {Type::cancel, 5, ""}));
  CHECK(t.client(kA, {Type::detach, 5, ""}));
  CHECK(t.guest.empty());
  CHECK_FALSE(t.client(kA, credit(6, 10)));
  CHECK_FALSE(t.client(kA, exec(5)));
  CHECK_FALSE(t.client(kA, exec(4)));
  CHECK(t.client(kA, exec(6)));
}

TEST_CASE("operations: requests are refused before the guest is configured, and malformed ones are answered") {
  Table t;
  t.operations.refuse(supervisor::still_starting());
  CHECK(t.client(kA, exec(1)));
  CHECK(t.last_error().code == "not_ready");
  t.operations.accept();
  CHECK(t.client(kA, {Type::exec, 2, "nonsense"}));
  CHECK(t.last_error().code == "invalid_argument");
  wire::FileRequest escaping;
  escaping.path = "/workspace/../etc/passwd";
  CHECK(t.client(kA, {Type::file_read, 3, escaping.encode()}));
  CHECK(t.last_error().code == "invalid_argument");
  auto move = file(Type::file_delete, 4);
  move.type = Type::file_move;
  CHECK(t.client(kA, move));
  CHECK(t.last_error().code == "invalid_argument");
  CHECK(t.guest.empty());
  CHECK(t.operations.empty());
}

TEST_CASE("operations: at most kMaxOperations") {
  Table t;
  for (std::uint32_t i = 1; i <= wire::kMaxOperations; ++i) REQUIRE(t.client(kA, exec(i)));
  t.forget();
  CHECK(t.client(kA, exec(5000)));
  CHECK(t.last_error().code == "rate_limited");
  CHECK(t.guest.empty());
}

TEST_CASE("operations: the guest's faults, each of them") {
  Table t;
  const auto command = t.open_started(kA, exec(1));
  const auto fresh = t.open(kA, exec(2));
  const auto read = t.open(kA, file(Type::file_read, 3));
  const auto write = t.open(kA, file(Type::file_write, 4));
  const auto stat = t.open(kA, file(Type::file_stat, 5));
  const auto list = t.open(kA, file(Type::file_list, 6));
  const auto out = wire::Stream::output;
  const auto err = wire::Stream::error_output;
  SUBCASE("an id that is not open") { CHECK_FALSE(t.from_guest(data(4711, "x", out))); }
  SUBCASE("data beyond credit") {
    CHECK(t.guest_sends(command, wire::kInitialCredit, out));
    CHECK_FALSE(t.from_guest(data(command, "x", out)));
  }
  SUBCASE("data beyond credit, over both streams") {
    CHECK(t.guest_sends(command, wire::kInitialCredit, out));
    CHECK_FALSE(t.from_guest(data(command, "x", err)));
  }
  SUBCASE("data without a byte") { CHECK_FALSE(t.from_guest(data(command, "", out))); }
  SUBCASE("data after its end") {
    CHECK(t.from_guest(data(command, "x", out, true)));
    CHECK(t.from_guest(data(command, "x", err)));
    CHECK_FALSE(t.from_guest(data(command, "x", out)));
  }
  SUBCASE("data before started") { CHECK_FALSE(t.from_guest(data(fresh, "x", out))); }
  SUBCASE("data of a request that has none") {
    CHECK_FALSE(t.from_guest(data(stat, "x", out)));
    CHECK_FALSE(t.from_guest(data(write, "x", out)));
  }
  SUBCASE("error output of a file") { CHECK_FALSE(t.from_guest(data(read, "x", err))); }
  SUBCASE("data after the final answer") {
    CHECK(t.from_guest(exec_result(command)));
    CHECK_FALSE(t.from_guest(data(command, "x", out)));
  }
  SUBCASE("two final answers") {
    CHECK(t.from_guest(exec_result(command)));
    CHECK_FALSE(t.from_guest(exec_result(command)));
  }
  SUBCASE("started twice, or by a file") {
    CHECK_FALSE(t.from_guest(started(command)));
    CHECK_FALSE(t.from_guest(started(read)));
  }
  SUBCASE("a result before started") { CHECK_FALSE(t.from_guest(exec_result(fresh))); }
  SUBCASE("malformed started, result, error") {
    CHECK_FALSE(t.from_guest({Type::started, fresh, "?"}));
    CHECK_FALSE(t.from_guest({Type::result, command, "?"}));
    CHECK_FALSE(t.from_guest({Type::result, stat, "?"}));
    CHECK_FALSE(t.from_guest({Type::error, command, "?"}));
  }
  SUBCASE("a result with a payload where none belongs") { CHECK_FALSE(t.from_guest(exec_result(read))); }
  SUBCASE("a write that is done before it had the content") { CHECK_FALSE(t.from_guest({Type::result, write, ""})); }
  SUBCASE("credit for what takes no input") { CHECK_FALSE(t.from_guest(credit(command, 1))); }
  SUBCASE("credit above the limit") {
    CHECK(t.from_guest(credit(write, wire::kMaxCredit - wire::kInitialCredit)));
    CHECK_FALSE(t.from_guest(credit(write, 1)));
  }
  SUBCASE("a credit of nothing") { CHECK_FALSE(t.from_guest(credit(write, 0))); }
  SUBCASE("a listing that is none") {
    CHECK_FALSE(t.from_guest(data(list, std::string("\xff\xff\xff\xff rubbish", 12), out)));
  }
  SUBCASE("a listing that is cut") {
    CHECK(t.from_guest(data(list, std::string("\x10\0\0", 3), out)));
    CHECK_FALSE(t.from_guest({Type::result, list, ""}));
  }
}

TEST_CASE("operations: a listing may be cut anywhere") {
  std::string listing;
  for (const char* name : {"a", "b.txt", "a name with spaces"}) {
    wire::FileInfo info;
    info.name = name;
    const std::string message = info.encode();
    std::string length(4, '\0');
    wire::store_u32(length.data(), static_cast<std::uint32_t>(message.size()));
    listing += length + message;
  }
  for (std::size_t cut = 1; cut < listing.size(); ++cut) {
    supervisor::ListCheck check;
    REQUIRE(check.feed(std::string_view(listing).substr(0, cut)).ok());
    REQUIRE(check.feed(std::string_view(listing).substr(cut)).ok());
    REQUIRE(check.at_boundary());
  }
}

TEST_CASE("operations: the guest's errors are capped in kind and cleaned") {
  Table t;
  const auto id = t.open(kA, file(Type::file_read, 1));
  wire::ErrorMessage message;
  message.code = "unauthorized";
  message.message = "evil\x1b[2J\x07text";
  message.stage = "boot";
  message.console_tail = "forged";
  CHECK(t.from_guest({Type::error, id, message.encode()}));
  const auto seen = t.last_error();
  CHECK(seen.code == "internal");
  CHECK(seen.message == "evil?[2J?text");
  CHECK(seen.stage.empty());
  CHECK(seen.console_tail.empty());
}

TEST_CASE("operations: the client's faults") {
  Table t;
  t.open_started(kA, exec(1, true));
  t.open(kA, exec(2));
  t.open(kA, file(Type::file_stat, 3));
  SUBCASE("input beyond credit") {
    CHECK(t.client_sends(kA, 1, wire::kInitialCredit));
    CHECK_FALSE(t.client(kA, data(1, "x", wire::Stream::input)));
  }
  SUBCASE("input without a byte") { CHECK_FALSE(t.client(kA, data(1, "", wire::Stream::input))); }
  SUBCASE("input after its end") {
    CHECK(t.client(kA, data(1, "", wire::Stream::input, true)));
    CHECK_FALSE(t.client(kA, data(1, "x", wire::Stream::input)));
  }
  SUBCASE("input where there is none") { CHECK_FALSE(t.client(kA, data(2, "x", wire::Stream::input))); }
  SUBCASE("credit above the limit") {
    CHECK(t.client(kA, credit(1, wire::kMaxCredit - wire::kInitialCredit)));
    CHECK_FALSE(t.client(kA, credit(1, 1)));
  }
  SUBCASE("credit for what has no output") { CHECK_FALSE(t.client(kA, credit(3, 10))); }
  SUBCASE("a malformed credit") { CHECK_FALSE(t.client(kA, {Type::credit, 1, "abc"})); }
}

TEST_CASE("operations: credit is passed on in portions but never held back from who needs it") {
  Table t;
  const auto id = t.open_started(kA, exec(1));
  CHECK(t.client(kA, credit(1, 100)));
  CHECK(t.guest.empty());
  const std::size_t left = wire::kDataChunk - 1;
  CHECK(t.guest_sends(id, wire::kInitialCredit - left, wire::Stream::output));
  REQUIRE(t.guest.size() == 1);
  CHECK(wire::load_u32(t.guest[0].payload.data()) == 100);
}

TEST_CASE("operations: detach frees the client's id, the command goes on and is credited here") {
  Table t;
  const auto id = t.open_started(kA, exec(1, true));
  CHECK(t.guest_sends(id, wire::kInitialCredit, wire::Stream::output));
  t.forget();
  CHECK(t.client(kA, {Type::detach, 1, ""}));
  std::uint64_t granted = 0;
  bool input_ended = false;
  for (const auto& frame : t.guest) {
    if (frame.type == Type::credit) granted += wire::load_u32(frame.payload.data());
    if (frame.type == Type::data) input_ended = (frame.flags & wire::kEndOfStream) != 0;
  }
  CHECK(granted == wire::kInitialCredit);
  CHECK(input_ended);
  t.forget();
  for (int i = 0; i < 100; ++i) {
    REQUIRE(t.from_guest(data(id, std::string(wire::kInitialCredit / 4, 'x'), wire::Stream::error_output)));
  }
  CHECK(t.clients.empty());
  CHECK(t.from_guest(exec_result(id)));
  CHECK(t.clients.empty());
  REQUIRE(t.finished.size() == 1);
  CHECK(t.finished[0].command == "make all TOKEN=***");
  CHECK(t.operations.empty());
}

TEST_CASE("operations: a dead client's commands go on, its transfers are cancelled, others do not notice") {
  Table t;
  const auto command = t.open_started(kA, exec(1));
  const auto write = t.open(kA, file(Type::file_write, 2));
  const auto other = t.open(kB, file(Type::file_read, 1));
  t.operations.client_gone(kA);
  t.drain();
  std::set<std::uint32_t> cancelled;
  for (const auto& frame : t.guest) {
    if (frame.type == Type::cancel) cancelled.insert(frame.id);
  }
  CHECK(cancelled == std::set<std::uint32_t>{write});
  CHECK(t.from_guest(exec_result(command)));
  CHECK(t.from_guest({Type::error, write, wire::ErrorMessage{"cancelled", "cancelled", "", ""}.encode()}));
  CHECK(t.clients.empty());
  CHECK(t.from_guest(data(other, "x", wire::Stream::output)));
  REQUIRE(t.clients.size() == 1);
  CHECK(t.clients[0].first == kB);
}

TEST_CASE("operations: the end of the guest answers everything once") {
  Table t;
  t.open_started(kA, exec(1));
  t.open(kA, file(Type::file_read, 2));
  t.open(kB, file(Type::file_move, 1));
  t.operations.guest_gone(Error(ErrorCode::vm_failed, "gone"), t.now);
  t.drain();
  CHECK(t.clients.size() == 3);
  CHECK(t.operations.empty());
  CHECK(t.finished.size() == 2);  // the exec and the move
  CHECK(t.client(kA, exec(3)));
  CHECK(t.last_error().code == "vm_failed");
}

TEST_CASE("operations: backstops") {
  Table t;
  SUBCASE("a command past its timeout is cancelled, then given up; its late answer is swallowed") {
    const auto id = t.open_started(kA, exec(1, false, 1000));
    t.tick(10'999ms);
    CHECK(t.guest.empty());
    t.tick(1ms);
    REQUIRE(t.guest.size() == 1);
    CHECK(t.guest[0].type == Type::cancel);
    CHECK(t.clients.empty());
    t.tick(4'999ms);
    CHECK(t.clients.empty());
    t.tick(1ms);
    CHECK(t.last_error().code == "vm_failed");
    t.forget();
    t.tick(60s);
    CHECK(t.clients.empty());
    CHECK(t.operations.size() == 1);
    CHECK(t.from_guest(data(id, "late", wire::Stream::output)));
    CHECK(t.from_guest(exec_result(id)));
    CHECK(t.clients.empty());
    CHECK(t.operations.empty());
  }
  SUBCASE("a command without a timeout has none") {
    t.open_started(kA, exec(1));
    t.tick(std::chrono::hours(1000));
    CHECK(t.guest.empty());
  }
  SUBCASE("a client that does not read is no dead guest") {
    const auto id = t.open_started(kA, exec(1, false, 1000));
    CHECK(t.guest_sends(id, wire::kInitialCredit, wire::Stream::output));
    t.forget();
    for (int i = 0; i < 100; ++i) t.tick(1s);
    CHECK(t.guest.empty());
    CHECK(t.client(kA, credit(1, 1000)));
    t.forget();
    t.tick(9s);
    CHECK(t.guest.empty());
    t.tick(2s);
    CHECK_FALSE(t.guest.empty());
  }
  SUBCASE("an upload waits for its client, then for the guest") {
    t.open(kA, file(Type::file_write, 1));
    for (int i = 0; i < 600; ++i) t.tick(1s);
    CHECK(t.guest.empty());
    CHECK(t.client(kA, data(1, "x", wire::Stream::input, true)));
    t.forget();
    for (int i = 0; i < 66; ++i) t.tick(1s);
    CHECK(t.last_error().code == "vm_failed");
  }
  SUBCASE("a download that moves lives for ever") {
    const auto id = t.open(kA, file(Type::file_read, 1));
    for (int i = 0; i < 100; ++i) {
      t.tick(30s);
      REQUIRE(t.from_guest(data(id, "x", wire::Stream::output)));
    }
    for (const auto& frame : t.guest) CHECK(frame.type != Type::cancel);
  }
  SUBCASE("a cancel that is not answered") {
    t.open_started(kA, exec(1));
    CHECK(t.client(kA, {Type::cancel, 1, ""}));
    CHECK(t.guest.size() == 1);
    CHECK(t.client(kA, {Type::cancel, 1, ""}));
    CHECK(t.guest.size() == 1);
    t.tick(15s);
    CHECK(t.last_error().code == "vm_failed");
  }
}

TEST_CASE("operations: a new size goes to a command with a terminal, made anew, and to nothing else") {
  const auto resize = [](std::uint32_t id, std::uint64_t cols, std::uint64_t rows) {
    return TestFrame{Type::resize, id, wire::ResizeMessage{cols, rows}.encode()};
  };
  wire::ExecRequest request;
  request.argv = {"/bin/bash"};
  request.stdin_open = request.tty = true;
  request.cols = 80;
  request.rows = 24;
  const TestFrame terminal{Type::exec, 1, request.encode()};
  {
    Table t;
    REQUIRE(t.client(kA, terminal));
    REQUIRE(t.guest.size() == 1);
    CHECK(t.guest[0].payload == request.encode());
    const auto id = t.guest[0].id;
    t.forget();
    auto with_more = resize(1, 132, 1000);
    with_more.payload += wire::FieldWriter().put(40, std::string_view("smuggled")).take();
    CHECK(t.client(kA, with_more));
    REQUIRE(t.guest.size() == 1);
    CHECK(t.guest[0].type == Type::resize);
    CHECK(t.guest[0].id == id);
    CHECK(t.guest[0].payload == resize(1, 132, 1000).payload);
    t.forget();
    CHECK(t.from_guest(started(id)));
    CHECK(t.from_guest(exec_result(id)));
    REQUIRE(t.finished.size() == 1);
    CHECK(t.finished[0].tty);
    t.forget();
    CHECK(t.client(kA, resize(1, 80, 24)));  // late
    CHECK(t.guest.empty());
    CHECK_FALSE(t.client(kA, resize(2, 80, 24)));  // does not exist yet
  }
  const std::pair<std::uint64_t, std::uint64_t> sizes[] = {{0, 24}, {80, 0}, {1001, 24}, {80, 1001}, {1ULL << 40U, 1}};
  for (const auto& [cols, rows] : sizes) {
    Table t;
    REQUIRE(t.client(kA, terminal));
    t.forget();
    CAPTURE(cols);
    CHECK_FALSE(t.client(kA, resize(1, cols, rows)));
    CHECK(t.guest.empty());
    wire::ExecRequest bad = request;
    bad.cols = cols;
    bad.rows = rows;
    CHECK(t.client(kB, {Type::exec, 1, bad.encode()}));
    CHECK(t.last_error().code == "invalid_argument");
  }
  for (const TestFrame& other : {exec(1), exec(1, true), file(Type::file_write, 1)}) {
    Table t;
    t.open(kA, other);
    CHECK_FALSE(t.client(kA, resize(1, 80, 24)));
    CHECK(t.guest.empty());
  }
  Table t;
  t.open(kA, terminal);
  CHECK_FALSE(t.client(kA, {Type::resize, 1, ""}));
  CHECK_FALSE(t.from_guest(resize(1, 80, 24)));
}
