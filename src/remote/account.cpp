#include "remote/account.hpp"

#include <fmt/format.h>

#include <limits>

#include "remote/decode.hpp"
#include "remote/remote_backend.hpp"

namespace orkestr::remote {
namespace {

using base::JsonValue;
using base::JsonWriter;

constexpr std::string_view kVolumes = "/v1/sandboxes/volumes";
constexpr std::string_view kWebhooks = "/v1/sandboxes/webhooks";

ApiRequest request_about(std::string what, std::string method, std::string_view root, std::string_view id,
                         std::string_view rest = {}, std::string body = {}) {
  return {fmt::format("{} {}", what, id), std::move(method), fmt::format("{}/{}{}", root, url_encoded(id), rest),
          std::move(body)};
}

std::optional<int> maybe_small(Fields& fields, std::string_view name) {
  if (!fields.has(name)) return {};
  return fields.small_integer(name);
}

VolumeInfo volume_of(Fields& fields) {
  VolumeInfo info;
  info.id = fields.needed_id("id");
  info.name = fields.text("name");
  info.size_mb = fields.small_integer("size_mb");
  info.status = fields.text("status");
  info.region = fields.text("region");
  info.node_id = fields.text("node_id");
  info.attached_sandbox_id = fields.text("attached_sandbox_id");
  info.max_lifetime_days = maybe_small(fields, "max_lifetime_days");
  info.max_lifetime_hours = maybe_small(fields, "max_lifetime_hours");
  info.expires_at = fields.maybe_time("expires_at");
  return info;
}

WebhookInfo webhook_of(Fields& fields) {
  WebhookInfo info;
  info.id = fields.needed_id("id");
  info.url = fields.text("url");
  if (fields.has("event_types")) info.event_types = fields.texts("event_types");
  info.active = fields.flag("active", true);
  info.consecutive_failures = fields.small_integer("consecutive_failures");
  info.last_delivery_at = fields.maybe_time("last_delivery_at");
  info.last_error = fields.text("last_error");
  info.created_at = fields.maybe_time("created_at");
  info.secret = fields.text("secret");
  return info;
}

}  // namespace

ApiRequest create_volume_request(std::string_view name, const VolumeOptions& options) {
  JsonWriter json;
  json.begin_object().field("name", name).field("size_gb", options.size_gb);
  if (!options.region.empty()) json.field("region", options.region);
  if (options.max_lifetime_days) json.field("max_lifetime_days", *options.max_lifetime_days);
  if (options.max_lifetime_hours) json.field("max_lifetime_hours", *options.max_lifetime_hours);
  json.end_object();
  return {fmt::format("create volume {}", name), "POST", std::string(kVolumes), json.take()};
}
ApiRequest list_volumes_request() { return {"list volumes", "GET", std::string(kVolumes), {}}; }
ApiRequest update_volume_request(std::string_view volume_id, const VolumeLifetime& lifetime) {
  JsonWriter json;
  json.begin_object();
  json.key(lifetime.unit == VolumeLifetime::Unit::hours ? "max_lifetime_hours" : "max_lifetime_days");
  if (lifetime.value) {
    json.value(*lifetime.value);
  } else {
    json.null();
  }
  json.end_object();
  return request_about("update volume", "PATCH", kVolumes, volume_id, {}, json.take());
}
ApiRequest move_volume_request(std::string_view volume_id, std::string_view region) {
  JsonWriter json;
  json.begin_object().field("region", region).end_object();
  return request_about("move volume", "POST", kVolumes, volume_id, "/move", json.take());
}
ApiRequest remove_volume_request(std::string_view volume_id) {
  return request_about("remove volume", "DELETE", kVolumes, volume_id);
}
Result<VolumeInfo> decode_volume(const JsonValue& json, const AnswerContext& context) {
  return decode_object<VolumeInfo>(json, context, volume_of);
}
Result<std::vector<VolumeInfo>> decode_volumes(const JsonValue& json, const AnswerContext& context) {
  return decode_array<VolumeInfo>(json, context, "volumes", volume_of);
}

ApiRequest create_webhook_request(std::string_view url, const std::optional<std::vector<std::string>>& event_types) {
  JsonWriter json;
  json.begin_object().field("url", url);
  if (event_types) {
    json.key("event_types").begin_array();
    for (const auto& type : *event_types) json.value(type);
    json.end_array();
  }
  json.end_object();
  return {"create webhook", "POST", std::string(kWebhooks), json.take()};
}
ApiRequest list_webhooks_request() { return {"list webhooks", "GET", std::string(kWebhooks), {}}; }
ApiRequest enable_webhook_request(std::string_view webhook_id) {
  return request_about("enable webhook", "POST", kWebhooks, webhook_id, "/enable");
}
ApiRequest remove_webhook_request(std::string_view webhook_id) {
  return request_about("remove webhook", "DELETE", kWebhooks, webhook_id);
}
Result<WebhookInfo> decode_webhook(const JsonValue& json, const AnswerContext& context) {
  return decode_object<WebhookInfo>(json, context, webhook_of);
}
Result<std::vector<WebhookInfo>> decode_webhooks(const JsonValue& json, const AnswerContext& context) {
  return decode_array<WebhookInfo>(json, context, "webhooks", webhook_of);
}

CancelFunction RemoteBackend::create_volume(std::string name, VolumeOptions options, Completion<VolumeInfo> done) {
  return api_->ask<VolumeInfo>(create_volume_request(name, options), std::move(done), decode_volume);
}
CancelFunction RemoteBackend::list_volumes(Completion<std::vector<VolumeInfo>> done) {
  return api_->ask<std::vector<VolumeInfo>>(list_volumes_request(), std::move(done), decode_volumes);
}
CancelFunction RemoteBackend::update_volume(std::string volume_id, VolumeLifetime lifetime,
                                            Completion<VolumeInfo> done) {
  return api_->ask<VolumeInfo>(update_volume_request(volume_id, lifetime), std::move(done), decode_volume);
}
CancelFunction RemoteBackend::move_volume(std::string volume_id, std::string region, Completion<VolumeInfo> done) {
  return api_->ask<VolumeInfo>(move_volume_request(volume_id, region), std::move(done), decode_volume);
}
CancelFunction RemoteBackend::remove_volume(std::string volume_id, Completion<void> done) {
  return api_->ask_nothing(remove_volume_request(volume_id), std::move(done));
}
CancelFunction RemoteBackend::create_webhook(std::string url, std::optional<std::vector<std::string>> event_types,
                                             Completion<WebhookInfo> done) {
  return api_->ask<WebhookInfo>(create_webhook_request(url, event_types), std::move(done), decode_webhook);
}
CancelFunction RemoteBackend::list_webhooks(Completion<std::vector<WebhookInfo>> done) {
  return api_->ask<std::vector<WebhookInfo>>(list_webhooks_request(), std::move(done), decode_webhooks);
}
CancelFunction RemoteBackend::enable_webhook(std::string webhook_id, Completion<WebhookInfo> done) {
  return api_->ask<WebhookInfo>(enable_webhook_request(webhook_id), std::move(done), decode_webhook);
}
CancelFunction RemoteBackend::remove_webhook(std::string webhook_id, Completion<void> done) {
  return api_->ask_nothing(remove_webhook_request(webhook_id), std::move(done));
}

}  // namespace orkestr::remote
