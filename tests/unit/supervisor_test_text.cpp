// What is logged and shown, and when a boot counts as stalled.
#include <doctest/doctest.h>

#include "supervisor/masking.hpp"
#include "supervisor/stall_watch.hpp"

using namespace orkestr;
using namespace std::chrono_literals;

TEST_CASE("masking: values of environments disappear, longer ones first, short ones stay") {
  const wire::EnvList outer = {{"KEY", "secret"}, {"MODE", "fast"}};
  const wire::EnvList inner = {{"LONG", "secret-and-more"}};
  CHECK(supervisor::mask("a secret-and-more b secret c fast", {&outer, &inner}) == "a *** b *** c fast");
  CHECK(supervisor::mask("nothing here", {&outer}) == "nothing here");
}

TEST_CASE("masking: a secret that command_line() had to quote does not show") {
  const wire::EnvList env = {{"PASSWORD", "it's secret"}};
  const std::string line = supervisor::command_line({"login", "it's secret"});
  CHECK(supervisor::mask(line, {&env}) == "login '***'");
}

TEST_CASE("masking: the length is capped, never inside a character") {
  std::string text;
  while (text.size() < 5000) text += "\u00e4";
  const std::string masked = supervisor::mask(text, {});
  CHECK(masked.size() <= supervisor::kMaxLoggedBytes);
  CHECK(masked.ends_with("\u00e4\u2026"));
  CHECK(supervisor::mask(std::string(supervisor::kMaxLoggedBytes, 'x'), {}).size() == supervisor::kMaxLoggedBytes);
}

TEST_CASE("masking: a secret that begins before the cap and ends behind it does not show") {
  const wire::EnvList env = {{"KEY", std::string(200, 'k')}};
  const std::string text = std::string(supervisor::kMaxLoggedBytes - 100, 'x') + std::string(200, 'k');
  CHECK(supervisor::mask(text, {&env}).find('k') == std::string::npos);
}

TEST_CASE("command_line: the shell form is its line, other words are quoted where needed") {
  CHECK(supervisor::command_line({"/bin/bash", "-c", "echo 'x y'"}) == "echo 'x y'");
  CHECK(supervisor::command_line({"ls", "-l", "a b", "it's", ""}) == "ls -l 'a b' 'it'\\''s' ''");
}

TEST_CASE("sanitised: control characters and broken UTF-8 become question marks") {
  CHECK(supervisor::sanitised("a\x1b[0mb\r\n\tc\x7f", 100) == "a?[0mb?\n\tc?");
  CHECK(supervisor::sanitised("gr\u00fc\u00df \xff\xc3", 100) == "gr\u00fc\u00df ??");
  CHECK(supervisor::sanitised("\xc2\x9b"
                              "2J",
                              100) == "?2J");                                 // CSI as one character
  CHECK(supervisor::sanitised("\xed\xa0\x80\xe0\x80\x80", 100) == "??????");  // a surrogate, an overlong form
  CHECK(supervisor::sanitised("\u00e4\u00e4", 3) == "\u00e4");
}

TEST_CASE("stall watch: a healthy boot, a spinning one, a sleeping one, a slow one") {
  const supervisor::StallWatch::TimePoint start{100s};
  SUBCASE("healthy on a loaded machine") {
    supervisor::StallWatch watch(start);
    for (int i = 0; i < 59; ++i) CHECK_FALSE(watch.check(start + i * 1s, i * 60));
  }
  SUBCASE("spinning") {
    supervisor::StallWatch watch(start);
    CHECK_FALSE(watch.check(start + 11s, 11'999));
    CHECK(watch.check(start + 12s, 12'000));
  }
  SUBCASE("sleeping") {
    supervisor::StallWatch watch(start);
    CHECK_FALSE(watch.check(start + 2s, 1500));
    CHECK_FALSE(watch.check(start + 11s, 1520));
    CHECK(watch.check(start + 12s, 1530));
  }
  SUBCASE("slow") {
    supervisor::StallWatch watch(start);
    for (int i = 0; i < 60; ++i) CHECK_FALSE(watch.check(start + i * 1s, i * 100));
    CHECK(watch.check(start + 60s, 6'000));
  }
}
