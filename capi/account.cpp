// What belongs to the account of a service rather than to a sandbox: volumes and webhooks.
#include "guard.hpp"
#include "operation.hpp"
#include "options.hpp"
#include "records.hpp"

using namespace orkestr;
using namespace orkestr::capi;

using Begun = Result<std::shared_ptr<Pending>>;

namespace {

Result<VolumeLifetime> lifetime(int days, int hours) {
  if ((days != 0) == (hours != 0)) {
    return Error(ErrorCode::invalid_argument, "max_lifetime_days is " + std::to_string(days) +
                                                  " and max_lifetime_hours is " + std::to_string(hours) +
                                                  "; exactly one of them is not 0, and -1 lets the volume live on");
  }
  const int value = days != 0 ? days : hours;
  VolumeLifetime out;
  out.unit = hours != 0 ? VolumeLifetime::Unit::hours : VolumeLifetime::Unit::days;
  if (value != -1) out.value = value;
  return out;
}

}  // namespace

orkestr_operation* orkestr_volume_create(orkestr_client* client, const char* name,
                                         const orkestr_volume_options* options) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(const auto called, text("name", name));
    ORKESTR_TRY(const auto chosen, volume_options(options));
    return giving(Volume::create_async(called, chosen, core.client));
  });
}

orkestr_operation* orkestr_volume_list(orkestr_client* client) {
  return begin_of(client, [](ClientCore& core) { return giving(Volume::list_async(core.client)); });
}

orkestr_operation* orkestr_volume_update(orkestr_client* client, const char* volume_id, int max_lifetime_days,
                                         int max_lifetime_hours) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(const auto id, text("volume_id", volume_id));
    ORKESTR_TRY(const auto chosen, lifetime(max_lifetime_days, max_lifetime_hours));
    return giving(Volume::update_async(id, chosen, core.client));
  });
}

orkestr_operation* orkestr_volume_move(orkestr_client* client, const char* volume_id, const char* region) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(const auto id, text("volume_id", volume_id));
    ORKESTR_TRY(const auto where, text("region", region));
    return giving(Volume::move_async(id, where, core.client));
  });
}

orkestr_operation* orkestr_volume_remove(orkestr_client* client, const char* volume_id) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(const auto id, text("volume_id", volume_id));
    return giving(Volume::remove_async(id, core.client));
  });
}

orkestr_operation* orkestr_webhook_create(orkestr_client* client, const char* url, const char* const* event_types,
                                          size_t event_types_count) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(const auto where, text("url", url));
    std::optional<std::vector<std::string>> types;
    if (event_types != nullptr || event_types_count != 0) {
      ORKESTR_TRY(types, texts("event_types", event_types, event_types_count));
    }
    return giving(Webhook::create_async(where, std::move(types), core.client));
  });
}

orkestr_operation* orkestr_webhook_list(orkestr_client* client) {
  return begin_of(client, [](ClientCore& core) { return giving(Webhook::list_async(core.client)); });
}

orkestr_operation* orkestr_webhook_enable(orkestr_client* client, const char* webhook_id) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(const auto id, text("webhook_id", webhook_id));
    return giving(Webhook::enable_async(id, core.client));
  });
}

orkestr_operation* orkestr_webhook_remove(orkestr_client* client, const char* webhook_id) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(const auto id, text("webhook_id", webhook_id));
    return giving(Webhook::remove_async(id, core.client));
  });
}

int orkestr_verify_webhook_signature(const char* secret, const void* body, size_t length, const char* signature) {
  return look(0, [&] {
    const auto content = bytes("body", body, length);
    if (secret == nullptr || signature == nullptr || !content.ok()) return 0;
    return verify_webhook_signature(secret, *content, signature) ? 1 : 0;
  });
}
