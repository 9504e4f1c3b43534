// Webhooks: addresses that a service tells of what happens to sandboxes, templates and volumes, with signed requests.
//
// A service has them; on the local backend all but verify_webhook_signature() answers not_supported.
//
// Thread safety: static functions without state; any thread.
#pragma once

#include <optional>
#include <orkestr/client.hpp>
#include <orkestr/operation.hpp>
#include <orkestr/options.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace orkestr {

struct WebhookInfo {
  std::string id;
  std::string url;
  std::optional<std::vector<std::string>> event_types;  // nothing: all
  bool active = true;
  int consecutive_failures = 0;  // it is switched off after twenty
  std::optional<TimePoint> last_delivery_at;
  std::string last_error;
  std::optional<TimePoint> created_at;
  std::string secret;  // only what create() gives has it: keep it
};

class ORKESTR_API Webhook {
 public:
  // `url`: http:// or https://, reachable from the service. `event_types`: sandbox.created, .paused, .resumed,
  // .terminated, .expired, template.build_finished, volume.moved, volume.expired; nothing: all.
  static Result<WebhookInfo> create(std::string_view url, std::optional<std::vector<std::string>> event_types = {},
                                    std::optional<Client> client = {});
  static Result<std::vector<WebhookInfo>> list(std::optional<Client> client = {});
  // One that was switched off after failures; counts from zero again.
  static Result<WebhookInfo> enable(std::string_view webhook_id, std::optional<Client> client = {});
  static Result<void> remove(std::string_view webhook_id, std::optional<Client> client = {});

  static Operation<WebhookInfo> create_async(std::string_view url,
                                             std::optional<std::vector<std::string>> event_types = {},
                                             std::optional<Client> client = {});
  static Operation<std::vector<WebhookInfo>> list_async(std::optional<Client> client = {});
  static Operation<WebhookInfo> enable_async(std::string_view webhook_id, std::optional<Client> client = {});
  static Operation<void> remove_async(std::string_view webhook_id, std::optional<Client> client = {});
};

// Whether a delivery is from the service: `signature` is its header X-Orkestr-Signature, `body` its bytes as they came,
// before anything parsed them. Takes the same time wherever the two differ. False for an empty secret.
ORKESTR_API bool verify_webhook_signature(std::string_view secret, std::string_view body, std::string_view signature);

}  // namespace orkestr
