// Volumes and webhooks.
#include <napi.h>

#include <orkestr/orkestr.hpp>

#include "handle.hpp"
#include "promise.hpp"
#include "surface.hpp"

namespace orkestr::node {

namespace {

using Info = const Napi::CallbackInfo&;

Napi::Value to_js(Napi::Env env, const VolumeInfo& info) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("id", to_text(env, info.id));
  out.Set("name", to_text(env, info.name));
  out.Set("sizeMb", to_number(env, info.size_mb));
  out.Set("status", to_text(env, info.status));
  out.Set("region", to_text_or_null(env, info.region));
  out.Set("nodeId", to_text_or_null(env, info.node_id));
  out.Set("attachedSandboxId", to_text_or_null(env, info.attached_sandbox_id));
  out.Set("maxLifetimeDays", to_number(env, info.max_lifetime_days));
  out.Set("maxLifetimeHours", to_number(env, info.max_lifetime_hours));
  out.Set("expiresAt", to_ms_or_null(env, info.expires_at));
  return out;
}

Napi::Value to_js(Napi::Env env, const WebhookInfo& info) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("id", to_text(env, info.id));
  out.Set("url", to_text(env, info.url));
  out.Set("eventTypes", info.event_types ? to_texts(env, *info.event_types) : env.Null());
  out.Set("active", Napi::Boolean::New(env, info.active));
  out.Set("consecutiveFailures", to_number(env, info.consecutive_failures));
  out.Set("lastDeliveryAt", to_ms_or_null(env, info.last_delivery_at));
  out.Set("lastError", to_text_or_null(env, info.last_error));
  out.Set("createdAt", to_ms_or_null(env, info.created_at));
  out.Set("secret", to_text_or_null(env, info.secret));
  return out;
}

template <class T>
Napi::Value one(Napi::Env env, const T& value) {
  return to_js(env, value);
}
template <class T>
Napi::Value all(Napi::Env env, const std::vector<T>& values) {
  Napi::Array out = Napi::Array::New(env, values.size());
  for (std::size_t i = 0; i < values.size(); ++i) out.Set(static_cast<std::uint32_t>(i), to_js(env, values[i]));
  return out;
}

Napi::Value create_volume(Info info) {
  VolumeOptions options;
  options.size_gb = get_number(info[1], "sizeGb");
  options.region = get_text(info[2], "region");
  options.max_lifetime_days = get_optional_int(info[3], "maxLifetimeDays");
  options.max_lifetime_hours = get_optional_int(info[4], "maxLifetimeHours");
  return begin(info.Env(), Volume::create_async(get_text(info[0], "name"), options, client_of(info[5])),
               one<VolumeInfo>);
}

Napi::Value update_volume(Info info) {
  VolumeLifetime lifetime;
  lifetime.unit = get_flag(info[1], "inHours") ? VolumeLifetime::Unit::hours : VolumeLifetime::Unit::days;
  lifetime.value = get_optional_int(info[2], "value");
  return begin(info.Env(), Volume::update_async(get_text(info[0], "volumeId"), lifetime, client_of(info[3])),
               one<VolumeInfo>);
}

Napi::Value create_webhook(Info info) {
  std::optional<std::vector<std::string>> types;
  if (!is_nothing(info[1])) types = get_texts(info[1], "eventTypes");
  return begin(info.Env(), Webhook::create_async(get_text(info[0], "url"), std::move(types), client_of(info[2])),
               one<WebhookInfo>);
}

}  // namespace

void export_account(Napi::Env, Napi::Object exports) {
  add(exports, "createVolume", create_volume);
  add(exports, "updateVolume", update_volume);
  add(exports, "listVolumes",
      [](Info info) { return begin(info.Env(), Volume::list_async(client_of(info[0])), all<VolumeInfo>); });
  add(exports, "moveVolume", [](Info info) {
    const std::string id = get_text(info[0], "volumeId"), region = get_text(info[1], "region");
    return begin(info.Env(), Volume::move_async(id, region, client_of(info[2])), one<VolumeInfo>);
  });
  add(exports, "deleteVolume", [](Info info) {
    return begin(info.Env(), Volume::remove_async(get_text(info[0], "volumeId"), client_of(info[1])), to_undefined);
  });
  add(exports, "createWebhook", create_webhook);
  add(exports, "listWebhooks",
      [](Info info) { return begin(info.Env(), Webhook::list_async(client_of(info[0])), all<WebhookInfo>); });
  add(exports, "enableWebhook", [](Info info) {
    return begin(info.Env(), Webhook::enable_async(get_text(info[0], "webhookId"), client_of(info[1])),
                 one<WebhookInfo>);
  });
  add(exports, "deleteWebhook", [](Info info) {
    return begin(info.Env(), Webhook::remove_async(get_text(info[0], "webhookId"), client_of(info[1])), to_undefined);
  });
  add(exports, "verifyWebhookSignature", [](Info info) -> Napi::Value {
    const std::string secret = get_text(info[0], "secret"), body = get_bytes(info[1], "body");
    return Napi::Boolean::New(info.Env(), verify_webhook_signature(secret, body, get_text(info[2], "signature")));
  });
}

}  // namespace orkestr::node
