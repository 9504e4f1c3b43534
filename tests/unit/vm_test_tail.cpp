#include <sys/socket.h>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/system.hpp"
#include "vm/tail.hpp"
#include "vm_test_support.hpp"

using namespace orkestr;
using namespace orkestr::vm;
using namespace orkestr::vm::test;

TEST_CASE("a tail keeps the last bytes, however they come") {
  std::string all;
  TailBuffer tail(10);
  for (std::size_t size : {0, 1, 3, 9, 10, 11, 25, 1, 1, 7}) {
    std::string piece;
    for (std::size_t i = 0; i < size; ++i) piece += static_cast<char>('a' + (all.size() + i) % 26);
    all += piece;
    tail.append(piece);
    CHECK(tail.bytes() == all.substr(all.size() > 10 ? all.size() - 10 : 0));
  }
}

TEST_CASE("what a guest prints cannot drive a terminal") {
  struct Row {
    std::string in, out;
  };
  const Row rows[] = {
      {"plain\ttext\r\n", "plain\ttext\n"},
      {"\x1b[1;31mred\x1b[0m", "red"},
      {"\x1b]0;title\x07", "]0;title?"},
      {"\x1b[", ""},
      {"\x1b", ""},
      {"\x1b[12", ""},
      {std::string("a\0b\x7f", 4), "a?b?"},
      {"\x9b\x33\xe2\x82\xac", "?3???"},
      {"\b\b\v", "???"},
  };
  for (const auto& row : rows) CHECK(printable(row.in) == row.out);
}

TEST_CASE("a reader follows its descriptor, sees what waits, and slows a flood down") {
  auto pair = base::socket_pair(SOCK_STREAM | SOCK_NONBLOCK);
  REQUIRE(pair);
  const int writer = pair->second.get();
  run([&]() -> boost::asio::awaitable<void> {
    const auto executor = co_await boost::asio::this_coro::executor;
    TailReader reader(executor, std::move(pair->first), 64);
    CHECK(reader.text().empty());
    REQUIRE(::write(writer, "not yet read\n", 13) == 13);
    CHECK(reader.text() == "not yet read\n");

    const std::string flood(4096, 'x');
    std::size_t written = 0;
    boost::asio::steady_timer timer(executor);
    for (int i = 0; i < 100; ++i) {
      for (ssize_t n = 0; (n = ::write(writer, flood.data(), flood.size())) > 0;)
        written += static_cast<std::size_t>(n);
      timer.expires_after(std::chrono::milliseconds(1));
      co_await timer.async_wait(boost::asio::use_awaitable);
    }
    CHECK(written > 64 * 1024);
    CHECK(written < 1024 * 1024);  // a reader without pauses takes tens of megabytes here
    CHECK(reader.text() == std::string(64, 'x'));
  });
}
