// What belongs to the account rather than to a sandbox: volumes and webhooks, as requests and as values. Pure
// functions; the wire is described in docs/REST.md.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.hpp"
#include "orkestr/volume.hpp"
#include "orkestr/webhook.hpp"
#include "remote/fields.hpp"
#include "remote/requests.hpp"

namespace orkestr::remote {

ApiRequest create_volume_request(std::string_view name, const VolumeOptions& options);
ApiRequest list_volumes_request();
ApiRequest update_volume_request(std::string_view volume_id, const VolumeLifetime& lifetime);
ApiRequest move_volume_request(std::string_view volume_id, std::string_view region);
ApiRequest remove_volume_request(std::string_view volume_id);
Result<VolumeInfo> decode_volume(const base::JsonValue& json, const AnswerContext& context);
Result<std::vector<VolumeInfo>> decode_volumes(const base::JsonValue& json, const AnswerContext& context);

ApiRequest create_webhook_request(std::string_view url, const std::optional<std::vector<std::string>>& event_types);
ApiRequest list_webhooks_request();
ApiRequest enable_webhook_request(std::string_view webhook_id);
ApiRequest remove_webhook_request(std::string_view webhook_id);
Result<WebhookInfo> decode_webhook(const base::JsonValue& json, const AnswerContext& context);
Result<std::vector<WebhookInfo>> decode_webhooks(const base::JsonValue& json, const AnswerContext& context);

}  // namespace orkestr::remote
