// One line of a driver's input: a call, its arguments, and the handles of earlier calls.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "orkestr/orkestr.hpp"

namespace orkestr::parity {

// A stream of either kind: next() of it.
struct Stream {
  std::optional<ExecStream> exec;
  std::optional<LogStream> log;
  Result<std::optional<ExecChunk>> next() { return exec ? exec->next() : log->next(); }
};

using Handle =
    std::variant<Client, Sandbox, BackgroundCommand, std::shared_ptr<Stream>, std::shared_ptr<CodeStream>, CodeContext>;
using Handles = std::map<int, Handle>;

class Call {
 public:
  Call(std::string_view line, Handles& handles);

  const std::string& name() const { return name_; }
  bool has(const std::string& argument) const { return arguments_.count(argument) != 0; }
  // An argument that is not there leaves `target` as it is.
  void get(const std::string& argument, std::string& target) const;
  void get(const std::string& argument, bool& target) const;
  void get(const std::string& argument, std::vector<std::string>& target) const;
  void get(const std::string& argument, std::optional<std::vector<std::string>>& target) const;
  void get(const std::string& argument, std::map<std::string, std::string>& target) const;
  template <class Number>
  void get(const std::string& argument, Number& target) const {
    if (!has(argument)) return;
    if constexpr (std::is_floating_point_v<Number>) {
      target = std::stod(text(argument));
    } else {
      target = static_cast<Number>(std::stoll(text(argument)));
    }
  }
  template <class T>
  void get(const std::string& argument, std::optional<T>& target) const {
    if (!has(argument)) return;
    T value{};
    get(argument, value);
    target = std::move(value);
  }
  template <class Rep, class Period>
  void get(const std::string& argument, std::chrono::duration<Rep, Period>& target) const {
    if (has(argument)) target = std::chrono::duration<Rep, Period>(std::stoll(text(argument)));
  }
  void get(const std::string& argument, TimePoint& target) const;
  // For enumerations; the library's own error when it is none of them.
  template <class T>
  void get(const std::string& argument, T& target, Result<T> (*parse)(std::string_view)) const {
    if (has(argument)) target = parse(text(argument)).value();
  }
  // The text, empty when it is not there.
  std::string text(const std::string& argument) const;

  template <class T>
  T& on() const {
    return std::get<T>(handles_.at(std::stoi(text("on"))));
  }
  std::optional<Client> client() const;
  int keep(Handle handle) const;
  void release() const { handles_.erase(std::stoi(text("on"))); }

 private:
  std::string name_;
  std::map<std::string, std::string> arguments_;
  Handles& handles_;
};

}  // namespace orkestr::parity
