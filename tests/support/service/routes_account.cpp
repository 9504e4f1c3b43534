// Volumes and webhooks: kept as records; the storage itself and the deliveries are not there.
#include <algorithm>

#include "support/service/routes_common.hpp"

namespace orkestr::testing {

using Clock = std::chrono::system_clock;

namespace {

// A lifetime of `name`, counted from `created`; null: none.
json::value lifetime(const json::object& body, const char* name, int most) {
  const auto* member = body.if_contains(name);
  if (member == nullptr || member->is_null()) return nullptr;
  if (!member->is_int64() || member->get_int64() < 1 || member->get_int64() > most) {
    throw std::invalid_argument(std::string(name) + " is out of range");
  }
  return *member;
}

void set_expiry(json::object& volume, Clock::time_point created) {
  const auto& days = volume["max_lifetime_days"];
  const auto& hours = volume["max_lifetime_hours"];
  volume["expires_at"] = nullptr;
  if (days.is_int64()) volume["expires_at"] = time_text(created + std::chrono::hours(24 * days.get_int64()), 0, true);
  if (hours.is_int64()) volume["expires_at"] = time_text(created + std::chrono::hours(hours.get_int64()), 6, false);
}

}  // namespace

struct Routes::Volume {
  json::object record;
  Clock::time_point created;
};
struct Routes::Webhook {
  json::object record;
};

void Routes::volumes(const Request& request, Answer& answer, const std::vector<std::string>& rest) {
  if (rest.empty() && request.method == "POST") {
    const json::object body = parse_body(request);
    const double size = number_of(body, "size_gb", 10);
    if (size < 0.25) throw std::invalid_argument("size_gb is below 0.25");
    if (body.contains("max_lifetime_days") && body.contains("max_lifetime_hours")) {
      throw std::invalid_argument("days and hours");
    }
    auto volume = std::make_shared<Volume>();
    volume->created = Clock::now();
    const std::string region = text_of(body, "region");
    volume->record = {{"id", new_id("vol_")},
                      {"name", needed_text(body, "name")},
                      {"size_mb", static_cast<std::int64_t>(size * 1024)},
                      {"status", "available"},
                      {"region", region.empty() ? json::value(nullptr) : json::value(region)},
                      {"node_id", nullptr},
                      {"max_lifetime_days", lifetime(body, "max_lifetime_days", 3650)},
                      {"max_lifetime_hours", lifetime(body, "max_lifetime_hours", 24)}};
    set_expiry(volume->record, volume->created);
    std::lock_guard lock(mutex_);
    for (const auto& other : volumes_) {
      if (other->record["name"] == volume->record["name"]) throw Refusal{409, "", "there is a volume of this name"};
    }
    volumes_.push_back(volume);
    volume->record["attached_sandbox_id"] = nullptr;
    send(answer, 201, volume->record);
    return;
  }
  std::lock_guard lock(mutex_);
  for (const auto& volume : volumes_) {
    volume->record["attached_sandbox_id"] = nullptr;
    for (const Sandbox& sandbox : sandboxes_) {
      const bool attached = volume->record["name"] == json::value(sandbox->volume) ||
                            volume->record["id"] == json::value(sandbox->volume);
      if (attached && sandbox->status == "running") volume->record["attached_sandbox_id"] = sandbox->id;
    }
  }
  if (rest.empty() && request.method == "GET") {
    json::array all;
    for (const auto& volume : volumes_) all.push_back(volume->record);
    send(answer, 200, {{"volumes", all}});
    return;
  }
  if (rest.empty()) throw Refusal{405, "", "no such method"};
  const auto found = std::find_if(volumes_.begin(), volumes_.end(),
                                  [&](const auto& volume) { return volume->record["id"] == json::value(rest[0]); });
  if (found == volumes_.end()) throw Refusal{404, "not_found", "no volume " + rest[0]};
  json::object& record = (*found)->record;
  const bool move = rest.size() == 2 && rest[1] == "move" && request.method == "POST";
  if ((move || request.method == "DELETE") && !record["attached_sandbox_id"].is_null()) {
    throw Refusal{409, "volume_in_use", "a running sandbox has the volume"};
  }
  if (move) {
    record["region"] = needed_text(parse_body(request), "region");
  } else if (request.method == "DELETE" && rest.size() == 1) {
    volumes_.erase(found);
    answer.send(204, "");
    return;
  } else if (request.method == "PATCH" && rest.size() == 1) {
    const json::object body = parse_body(request);
    const bool days = body.contains("max_lifetime_days"), hours = body.contains("max_lifetime_hours");
    if (days == hours) throw std::invalid_argument("exactly one of days and hours");
    record["max_lifetime_days"] = lifetime(body, "max_lifetime_days", 3650);
    record["max_lifetime_hours"] = lifetime(body, "max_lifetime_hours", 24);
    set_expiry(record, (*found)->created);
  } else {
    throw Refusal{405, "", "no such method"};
  }
  send(answer, 200, record);
}

void Routes::webhooks(const Request& request, Answer& answer, const std::vector<std::string>& rest) {
  if (rest.empty() && request.method == "POST") {
    const json::object body = parse_body(request);
    auto webhook = std::make_shared<Webhook>();
    const auto* types = body.if_contains("event_types");
    webhook->record = {{"id", new_id("whk_")},
                       {"url", needed_text(body, "url")},
                       {"event_types", types == nullptr ? json::value(nullptr) : *types},
                       {"active", true},
                       {"consecutive_failures", 0},
                       {"last_delivery_at", nullptr},
                       {"last_error", nullptr},
                       {"created_at", time_text(Clock::now(), 6, true)}};
    {
      std::lock_guard lock(mutex_);
      webhooks_.push_back(webhook);
    }
    json::object with_secret = webhook->record;
    with_secret["secret"] = "whsec_test";
    send(answer, 201, with_secret);
    return;
  }
  std::lock_guard lock(mutex_);
  if (rest.empty() && request.method == "GET") {
    json::array all;
    for (const auto& webhook : webhooks_) all.push_back(webhook->record);
    send(answer, 200, {{"webhooks", all}});
    return;
  }
  if (rest.empty()) throw Refusal{405, "", "no such method"};
  const auto found = std::find_if(webhooks_.begin(), webhooks_.end(),
                                  [&](const auto& webhook) { return webhook->record["id"] == json::value(rest[0]); });
  if (found == webhooks_.end()) throw Refusal{404, "not_found", "no webhook " + rest[0]};
  if (request.method == "DELETE" && rest.size() == 1) {
    webhooks_.erase(found);
    answer.send(204, "");
  } else if (request.method == "POST" && rest.size() == 2 && rest[1] == "enable") {
    (*found)->record["active"] = true;
    (*found)->record["consecutive_failures"] = 0;
    send(answer, 200, (*found)->record);
  } else {
    throw Refusal{405, "", "no such method"};
  }
}

}  // namespace orkestr::testing
