#include "support/service/routes.hpp"

#include <unistd.h>

#include <boost/beast/core/detail/base64.hpp>
#include <cmath>
#include <cstdio>

#include "support/service/routes_common.hpp"

namespace orkestr::testing {

namespace base64 = boost::beast::detail::base64;
using Clock = std::chrono::system_clock;

bool send(Answer& answer, int status, const json::value& body) {
  return answer.send(status, status == 204 ? std::string() : json::serialize(body), {{"x-request-id", "req_test"}});
}

json::object parse_body(const Request& request) {
  if (request.body.empty()) return {};
  boost::system::error_code error;
  const json::value value = json::parse(request.body, error);
  if (error || !value.is_object()) throw std::invalid_argument("the body is no JSON object");
  return value.get_object();
}

std::string text_of(const json::object& body, const char* name, std::string_view fallback) {
  const auto* member = body.if_contains(name);
  if (member == nullptr || member->is_null()) return std::string(fallback);
  if (!member->is_string()) throw std::invalid_argument(std::string(name) + " is no text");
  return std::string(member->get_string());
}

std::string needed_text(const json::object& body, const char* name) {
  std::string text = text_of(body, name);
  if (text.empty()) throw std::invalid_argument(std::string(name) + " is missing");
  return text;
}

std::map<std::string, std::string> map_of(const json::object& body, const char* name) {
  std::map<std::string, std::string> map;
  const auto* member = body.if_contains(name);
  if (member == nullptr || member->is_null()) return map;
  if (!member->is_object()) throw std::invalid_argument(std::string(name) + " is no object");
  for (const auto& [key, value] : member->get_object()) {
    if (!value.is_string()) throw std::invalid_argument(std::string(name) + " has a value that is no text");
    map.emplace(key, value.get_string());
  }
  return map;
}

double number_of(const json::object& body, const char* name, double fallback) {
  const auto* member = body.if_contains(name);
  if (member == nullptr || member->is_null()) return fallback;
  if (!member->is_number()) throw std::invalid_argument(std::string(name) + " is no number");
  return member->to_number<double>();
}

std::string utf8(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size();) {
    const auto c = static_cast<unsigned char>(bytes[i]);
    const std::size_t length = c < 0x80                ? 1
                               : c >= 0xc2 && c < 0xe0 ? 2
                               : c >= 0xe0 && c < 0xf0 ? 3
                               : c >= 0xf0 && c < 0xf5 ? 4
                                                       : 0;
    bool good = length > 0 && i + length <= bytes.size();
    for (std::size_t k = 1; good && k < length; ++k) good = (static_cast<unsigned char>(bytes[i + k]) & 0xc0) == 0x80;
    if (good && length == 3) {
      const unsigned point = (c & 15U) << 12U | (static_cast<unsigned char>(bytes[i + 1]) & 63U) << 6U;
      good = point >= 0x800 && (point < 0xd800 || point > 0xdfff);
    }
    if (good && length == 4) {
      const unsigned top = (c & 7U) << 6U | (static_cast<unsigned char>(bytes[i + 1]) & 63U);
      good = top >= 0x10 && top <= 0x10f;
    }
    if (good) {
      out += bytes.substr(i, length);
      i += length;
    } else {
      out += "\xef\xbf\xbd";
      ++i;
    }
  }
  return out;
}

std::string event_text(const json::object& object) { return "data: " + json::serialize(object) + "\n\n"; }

std::string encode64(std::string_view bytes) {
  std::string out(base64::encoded_size(bytes.size()), '\0');
  out.resize(base64::encode(out.data(), bytes.data(), bytes.size()));
  return out;
}

std::string decode64(std::string_view text) {
  std::string out(base64::decoded_size(text.size()), '\0');
  const auto [written, read] = base64::decode(out.data(), text.data(), text.size());
  const auto padding = text.size() - read;
  if (padding > 2 || text.size() % 4 != 0) throw std::invalid_argument("content is no base64");
  out.resize(written);
  return out;
}

std::string time_text(Clock::time_point time, int digits, bool zulu) {
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
  const std::time_t seconds = micros / 1'000'000 + (zulu ? 0 : 7200);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[64];
  std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::string out(text, size);
  if (digits > 0) {
    std::snprintf(text, sizeof text, ".%06lld", static_cast<long long>(micros % 1'000'000));
    out += std::string(text).substr(0, static_cast<std::size_t>(digits) + 1);
  }
  return out + (zulu ? "Z" : "+02:00");
}

Routes::Routes(TestService& service, TestService::Options options) : service_(service), options_(std::move(options)) {
  watcher_ = std::thread([this] { watch(); });
}

Routes::~Routes() {
  stop();
  sandboxes_.clear();
  for (const auto& snapshot : snapshots_) {
    static_cast<void>(!std::system(("rm -rf '" + snapshot->directory + "'").c_str()));
  }
}

void Routes::stop() {
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(stopping_, true)) return;
  }
  stopped_.notify_all();
  watcher_.join();
  std::vector<Sandbox> all;
  {
    std::lock_guard lock(mutex_);
    all = sandboxes_;
  }
  for (const Sandbox& sandbox : all) end(*sandbox, "the service stopped");
}

// The clock of sandboxes.
void Routes::watch() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    stopped_.wait_for(lock, std::chrono::milliseconds(100));
    std::vector<Sandbox> late;
    for (const Sandbox& sandbox : sandboxes_) {
      if (sandbox->status == "running" && Clock::now() >= sandbox->expires) late.push_back(sandbox);
    }
    if (stopping_) return;
    lock.unlock();
    for (const Sandbox& sandbox : late) {
      if (sandbox->on_timeout == "pause") {
        std::lock_guard inner(mutex_);
        sandbox->guest->freeze();
        sandbox->status = "paused";
      } else {
        end(*sandbox, "timeout");
      }
    }
    lock.lock();
  }
}

void Routes::end(ServedSandbox& sandbox, const std::string& reason) {
  std::vector<std::shared_ptr<ServedCommand>> commands;
  std::vector<std::shared_ptr<ServedContext>> contexts;
  {
    std::lock_guard lock(mutex_);
    if (sandbox.status == "terminated") return;
    sandbox.status = "terminated";
    sandbox.end_reason = reason;
    sandbox.expires = Clock::now();
    commands = sandbox.commands;
    contexts.swap(sandbox.contexts);
  }
  sandbox.guest->end();
  for (const auto& command : commands) {
    if (command->thread.joinable()) command->thread.join();
  }
}

std::string Routes::new_id(const std::string& prefix) {
  static constexpr std::string_view kLetters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  std::uint64_t time = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch()).count());
  std::lock_guard lock(mutex_);
  std::uint64_t number = ++counter_;
  std::string id(26, '0');
  for (int i = 9; i >= 0; --i, time >>= 5U) id[static_cast<std::size_t>(i)] = kLetters[time & 31U];
  for (int i = 25; i >= 10; --i, number >>= 5U) id[static_cast<std::size_t>(i)] = kLetters[number & 31U];
  return prefix + id;
}

Routes::Sandbox Routes::find(const std::string& id) {
  std::lock_guard lock(mutex_);
  for (const Sandbox& sandbox : sandboxes_) {
    if (sandbox->id == id) return sandbox;
  }
  throw Refusal{404, "not_found", "no sandbox " + id};
}

Guest& Routes::running(ServedSandbox& sandbox) {
  std::lock_guard lock(mutex_);
  if (sandbox.status == "paused" && sandbox.auto_resume) {
    sandbox.guest->thaw();
    sandbox.status = "running";
  }
  if (sandbox.status != "running") {
    throw Refusal{409, "not_ready",
                  "the sandbox is " + sandbox.status + (sandbox.end_reason.empty() ? "" : ": " + sandbox.end_reason)};
  }
  return *sandbox.guest;
}

void Routes::answer(const Request& request, const HttpServer::Body& body, Answer& answer) {
  try {
    route(request, body, answer);
  } catch (const Refusal& refusal) {
    json::object error = refusal.more;
    error["detail"] = refusal.detail;
    if (!refusal.code.empty()) error["code"] = refusal.code;
    std::map<std::string, std::string> headers = {{"x-request-id", "req_test"}};
    if (refusal.retry_after > 0) {
      error["retry_after"] = refusal.retry_after;
      headers["Retry-After"] = std::to_string(static_cast<int>(std::ceil(refusal.retry_after)));
    }
    answer.send(refusal.status, json::serialize(error), headers);
  } catch (const std::invalid_argument& problem) {
    send(answer, 422, {{"detail", problem.what()}, {"code", "invalid_argument"}});
  } catch (const std::exception& problem) {
    send(answer, 500, {{"detail", problem.what()}});
  }
}

void Routes::route(const Request& request, const HttpServer::Body& body, Answer& answer) {
  std::string path = request.path;
  if (path.compare(0, 7, "/_test/") == 0) return test_route(request, answer);
  if (path.compare(0, options_.prefix.size(), options_.prefix) != 0) throw Refusal{404, "", "no such path"};
  path.erase(0, options_.prefix.size());
  if (path.compare(0, 11, "/presigned/") == 0) return presigned(request, body, answer);
  const auto key = request.headers.find("authorization");
  if (key == request.headers.end() || key->second != "Bearer " + options_.key) {
    throw Refusal{401, "", "the key is not known here: " + (key == request.headers.end() ? "none" : key->second)};
  }
  const std::string root = "/v1/sandboxes";
  if (path.compare(0, root.size(), root) != 0) throw Refusal{404, "", "no such path"};
  path.erase(0, root.size());
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < path.size();) {
    const auto end = std::min(path.find('/', at + 1), path.size());
    parts.push_back(path.substr(at + 1, end - at - 1));
    at = end;
  }
  if (parts.empty() && request.method == "POST") return create(request, answer);
  if (parts.empty() && request.method == "GET") return list(request, answer);
  if (parts.empty()) throw Refusal{405, "", "no such method"};
  if (parts[0] == "limits") return limits(answer);
  if (parts[0] == "snapshots") return snapshots(request, answer, parts.size() > 1 ? parts[1] : "");
  if (parts[0] == "volumes") return volumes(request, answer, {parts.begin() + 1, parts.end()});
  if (parts[0] == "webhooks") return webhooks(request, answer, {parts.begin() + 1, parts.end()});
  Call call{request, answer, find(parts[0]), {parts.begin() + 1, parts.end()}};
  sandbox_route(call);
}

// For tests in other languages: what was asked so far, and faults to come.
void Routes::test_route(const Request& request, Answer& answer) {
  if (request.path == "/_test/requests" && request.method == "GET") {
    json::array all;
    for (const RecordedRequest& one : service_.requests()) {
      json::object headers;
      for (const auto& [name, value] : one.headers) headers[name] = value;
      all.push_back({{"method", one.method},
                     {"target", one.target},
                     {"headers", headers},
                     {"body", utf8(one.body)},
                     {"connection", one.connection}});
    }
    answer.send(200, json::serialize(all));
  } else if (request.path == "/_test/clear") {
    service_.clear();
    answer.send(204, "");
  } else if (request.path == "/_test/fault") {
    const json::object body = parse_body(request);
    Fault fault;
    fault.method = text_of(body, "method");
    fault.target = text_of(body, "target");
    fault.times = static_cast<int>(number_of(body, "times", 1));
    fault.delay_ms = static_cast<int>(number_of(body, "delay_ms", 0));
    fault.cut_at = static_cast<std::int64_t>(number_of(body, "cut_at", -1));
    if (body.contains("raw")) fault.raw = text_of(body, "raw");
    service_.inject(fault);
    answer.send(204, "");
  } else {
    throw Refusal{404, "", "no such path"};
  }
}

}  // namespace orkestr::testing
