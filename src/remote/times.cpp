#include "remote/times.hpp"

#include <cstdint>

namespace orkestr::remote {
namespace {

class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}
  bool end() const { return at_ == text_.size(); }
  char peek() const { return end() ? '\0' : text_[at_]; }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  // Exactly `count` digits.
  std::optional<int> digits(int count) {
    int value = 0;
    for (int i = 0; i < count; ++i) {
      if (!is_digit()) return std::nullopt;
      value = value * 10 + (text_[at_++] - '0');
    }
    return value;
  }
  bool is_digit() const { return peek() >= '0' && peek() <= '9'; }
  char next() { return text_[at_++]; }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

// Seconds east of UTC.
std::optional<int> offset(Cursor& at) {
  if (at.end() || at.take('Z') || at.take('z')) return 0;
  const bool west = at.peek() == '-';
  if (!west && at.peek() != '+') return std::nullopt;
  at.next();
  const auto hours = at.digits(2);
  at.take(':');
  const auto minutes = at.end() ? std::optional<int>(0) : at.digits(2);
  if (!hours || !minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  const int seconds = *hours * 3600 + *minutes * 60;
  return west ? -seconds : seconds;
}

}  // namespace

std::optional<TimePoint> parse_time(std::string_view text) {
  using namespace std::chrono;
  Cursor at(text);
  const auto years = at.digits(4);
  if (!years || !at.take('-')) return std::nullopt;
  const auto months = at.digits(2);
  if (!months || !at.take('-')) return std::nullopt;
  const auto days = at.digits(2);
  if (!days || !(at.take('T') || at.take('t') || at.take(' '))) return std::nullopt;
  const auto hour = at.digits(2);
  if (!hour || !at.take(':')) return std::nullopt;
  const auto minute = at.digits(2);
  if (!minute || !at.take(':')) return std::nullopt;
  const auto second = at.digits(2);
  if (!second || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  std::int64_t fraction = 0;
  if (at.take('.')) {
    std::int64_t unit = 100'000'000;
    if (!at.is_digit()) return std::nullopt;
    for (; at.is_digit(); unit /= 10) {
      if (unit == 0) return std::nullopt;
      fraction += (at.next() - '0') * unit;
    }
  }
  const auto east = offset(at);
  const year_month_day date{year(*years), month(static_cast<unsigned>(*months)), day(static_cast<unsigned>(*days))};
  if (!east || !at.end() || !date.ok() || *years < 1970) return std::nullopt;
  // What our clock can hold ends in 2262; later means "never".
  if (*years > 2261) return TimePoint(sys_days(year(2261) / December / 31));
  return TimePoint(sys_days(date)) + hours(*hour) + minutes(*minute) + seconds(*second - *east) +
         duration_cast<TimePoint::duration>(nanoseconds(fraction));
}

}  // namespace orkestr::remote
