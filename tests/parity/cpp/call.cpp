#include "call.hpp"

namespace orkestr::parity {

namespace {

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

Call::Call(std::string_view line, Handles& handles) : handles_(handles) {
  const std::size_t mark = line.find('?');
  name_ = line.substr(0, mark);
  std::string_view rest = mark == line.npos ? std::string_view() : line.substr(mark + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    const std::size_t equals = pair.find('=');
    arguments_[percent_decoded(pair.substr(0, equals))] = percent_decoded(pair.substr(equals + 1));
  }
}

std::string Call::text(const std::string& argument) const {
  const auto found = arguments_.find(argument);
  return found == arguments_.end() ? std::string() : found->second;
}

void Call::get(const std::string& argument, std::string& target) const {
  if (has(argument)) target = text(argument);
}

void Call::get(const std::string& argument, bool& target) const {
  if (has(argument)) target = text(argument) == "true";
}

void Call::get(const std::string& argument, TimePoint& target) const {
  if (has(argument)) target = TimePoint(std::chrono::milliseconds(std::stoll(text(argument))));
}

void Call::get(const std::string& argument, std::vector<std::string>& target) const {
  for (std::size_t i = 0; has(argument + "." + std::to_string(i)); ++i) {
    target.push_back(text(argument + "." + std::to_string(i)));
  }
}

void Call::get(const std::string& argument, std::optional<std::vector<std::string>>& target) const {
  if (has(argument) || has(argument + ".0")) get(argument, target.emplace());
}

void Call::get(const std::string& argument, std::map<std::string, std::string>& target) const {
  const std::string prefix = argument + ".";
  for (auto it = arguments_.lower_bound(prefix);
       it != arguments_.end() && it->first.compare(0, prefix.size(), prefix) == 0; ++it) {
    target[it->first.substr(prefix.size())] = it->second;
  }
}

std::optional<Client> Call::client() const {
  if (!has("client")) return std::nullopt;
  return std::get<Client>(handles_.at(std::stoi(text("client"))));
}

int Call::keep(Handle handle) const {
  const int number = handles_.empty() ? 1 : handles_.rbegin()->first + 1;
  handles_.emplace(number, std::move(handle));
  return number;
}

}  // namespace orkestr::parity
