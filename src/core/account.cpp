// What belongs to the account of a service rather than to a sandbox.
#include <fmt/format.h>

#include <algorithm>

#include "base/sha256.hpp"
#include "core/handles.hpp"
#include "core/submit.hpp"
#include "core/validate.hpp"
#include "orkestr/volume.hpp"
#include "orkestr/webhook.hpp"

namespace orkestr {
namespace {

using core::check_id;
using core::client_of;
using core::completed;
using core::shown;

Error invalid(std::string text) { return Error(ErrorCode::invalid_argument, std::move(text)); }

Result<void> check_word(std::string_view argument, std::string_view text, std::size_t most) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= ' '; });
  if (!text.empty() && text.size() <= most && plain && core::is_utf8(text)) return {};
  return invalid(
      fmt::format("{} is {}; it is a text of 1 to {} bytes without control characters", argument, shown(text), most));
}

Result<void> check_lifetime(std::string_view argument, std::optional<int> value, int most) {
  if (!value || (*value >= 1 && *value <= most)) return {};
  return invalid(fmt::format("{} is {}; allowed are 1 to {}", argument, *value, most));
}
Result<void> check_days(std::optional<int> days) { return check_lifetime("max_lifetime_days", days, 3650); }
Result<void> check_hours(std::optional<int> hours) { return check_lifetime("max_lifetime_hours", hours, 24); }

Result<void> check_volume(std::string_view name, const VolumeOptions& options) {
  if (auto good = check_word("name", name, 128); !good) return good;
  if (!(options.size_gb >= 0.25 && options.size_gb <= 65536)) {
    return invalid(fmt::format("size_gb is {}; allowed are 0.25 to 65536 GiB", options.size_gb));
  }
  if (!options.region.empty()) {
    if (auto good = check_word("region", options.region, 64); !good) return good;
  }
  if (options.max_lifetime_days && options.max_lifetime_hours) {
    return invalid(fmt::format("max_lifetime_days is {} and max_lifetime_hours is {}; give one of them",
                               *options.max_lifetime_days, *options.max_lifetime_hours));
  }
  if (auto good = check_days(options.max_lifetime_days); !good) return good;
  return check_hours(options.max_lifetime_hours);
}

Result<void> check_webhook(std::string_view url, const std::optional<std::vector<std::string>>& event_types) {
  const bool known = url.compare(0, 8, "https://") == 0 || url.compare(0, 7, "http://") == 0;
  const bool plain = std::all_of(url.begin(), url.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (!known || !plain || url.size() > 2048) {
    return invalid(
        fmt::format("url is {}; it begins with https:// or http://, without spaces, at most 2048 bytes", shown(url)));
  }
  if (!event_types) return {};
  if (event_types->empty()) return invalid("event_types is empty; leave it out for every event, or name some");
  for (const auto& type : *event_types) {
    if (auto good = check_word("event_types has an entry that", type, 64); !good) return good;
  }
  return {};
}

// The checked call of a backend, as an operation.
template <class T, class Call>
Operation<T> ask(const std::optional<Client>& client, const Result<void>& good, Call call) {
  auto impl = client_of(client);
  if (!impl) return completed<T>(impl.error());
  if (!good) return completed<T>(good.error());
  return core::submit<T>([&](auto done) { return call((*impl)->backend(), std::move(done)); });
}

}  // namespace

Operation<VolumeInfo> Volume::create_async(std::string_view name, const VolumeOptions& options,
                                           std::optional<Client> client) {
  return ask<VolumeInfo>(client, check_volume(name, options), [&](Backend& backend, auto done) {
    return backend.create_volume(std::string(name), options, std::move(done));
  });
}
Operation<std::vector<VolumeInfo>> Volume::list_async(std::optional<Client> client) {
  return ask<std::vector<VolumeInfo>>(
      client, {}, [](Backend& backend, auto done) { return backend.list_volumes(std::move(done)); });
}
Operation<VolumeInfo> Volume::update_async(std::string_view volume_id, const VolumeLifetime& lifetime,
                                           std::optional<Client> client) {
  auto good = check_id("volume", volume_id);
  if (good)
    good = lifetime.unit == VolumeLifetime::Unit::hours ? check_hours(lifetime.value) : check_days(lifetime.value);
  return ask<VolumeInfo>(client, good, [&](Backend& backend, auto done) {
    return backend.update_volume(std::string(volume_id), lifetime, std::move(done));
  });
}
Operation<VolumeInfo> Volume::move_async(std::string_view volume_id, std::string_view region,
                                         std::optional<Client> client) {
  auto good = check_id("volume", volume_id);
  if (good) good = check_word("region", region, 64);
  return ask<VolumeInfo>(client, good, [&](Backend& backend, auto done) {
    return backend.move_volume(std::string(volume_id), std::string(region), std::move(done));
  });
}
Operation<void> Volume::remove_async(std::string_view volume_id, std::optional<Client> client) {
  return ask<void>(client, check_id("volume", volume_id), [&](Backend& backend, auto done) {
    return backend.remove_volume(std::string(volume_id), std::move(done));
  });
}

Result<VolumeInfo> Volume::create(std::string_view name, const VolumeOptions& options, std::optional<Client> client) {
  return create_async(name, options, std::move(client)).get();
}
Result<std::vector<VolumeInfo>> Volume::list(std::optional<Client> client) {
  return list_async(std::move(client)).get();
}
Result<VolumeInfo> Volume::update(std::string_view volume_id, const VolumeLifetime& lifetime,
                                  std::optional<Client> client) {
  return update_async(volume_id, lifetime, std::move(client)).get();
}
Result<VolumeInfo> Volume::move(std::string_view volume_id, std::string_view region, std::optional<Client> client) {
  return move_async(volume_id, region, std::move(client)).get();
}
Result<void> Volume::remove(std::string_view volume_id, std::optional<Client> client) {
  return remove_async(volume_id, std::move(client)).get();
}

Operation<WebhookInfo> Webhook::create_async(std::string_view url, std::optional<std::vector<std::string>> event_types,
                                             std::optional<Client> client) {
  return ask<WebhookInfo>(client, check_webhook(url, event_types), [&](Backend& backend, auto done) {
    return backend.create_webhook(std::string(url), std::move(event_types), std::move(done));
  });
}
Operation<std::vector<WebhookInfo>> Webhook::list_async(std::optional<Client> client) {
  return ask<std::vector<WebhookInfo>>(
      client, {}, [](Backend& backend, auto done) { return backend.list_webhooks(std::move(done)); });
}
Operation<WebhookInfo> Webhook::enable_async(std::string_view webhook_id, std::optional<Client> client) {
  return ask<WebhookInfo>(client, check_id("webhook", webhook_id), [&](Backend& backend, auto done) {
    return backend.enable_webhook(std::string(webhook_id), std::move(done));
  });
}
Operation<void> Webhook::remove_async(std::string_view webhook_id, std::optional<Client> client) {
  return ask<void>(client, check_id("webhook", webhook_id), [&](Backend& backend, auto done) {
    return backend.remove_webhook(std::string(webhook_id), std::move(done));
  });
}

Result<WebhookInfo> Webhook::create(std::string_view url, std::optional<std::vector<std::string>> event_types,
                                    std::optional<Client> client) {
  return create_async(url, std::move(event_types), std::move(client)).get();
}
Result<std::vector<WebhookInfo>> Webhook::list(std::optional<Client> client) {
  return list_async(std::move(client)).get();
}
Result<WebhookInfo> Webhook::enable(std::string_view webhook_id, std::optional<Client> client) {
  return enable_async(webhook_id, std::move(client)).get();
}
Result<void> Webhook::remove(std::string_view webhook_id, std::optional<Client> client) {
  return remove_async(webhook_id, std::move(client)).get();
}

bool verify_webhook_signature(std::string_view secret, std::string_view body, std::string_view signature) {
  if (secret.empty()) return false;  // a secret that was not configured: everybody could sign with that
  const std::string expected = "sha256=" + base::hmac_sha256_hex(secret, body);
  if (signature.size() != expected.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference |= static_cast<unsigned char>(expected[i]) ^ static_cast<unsigned char>(signature[i]);
  }
  return difference == 0;
}

}  // namespace orkestr
