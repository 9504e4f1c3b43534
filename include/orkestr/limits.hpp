// What an account of a service, or this machine, allows.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace orkestr {

struct SizeLimit {
  std::string size;  // "small", "medium", "large"
  double cpu = 0;
  int memory_mb = 0;
  bool allowed = true;
};

struct Region {
  std::string id;
  std::string label;
};

// From Sandbox::limits(). Fields that a backend does not have keep their defaults.
struct Limits {
  std::string plan;        // of the account; "local" for this machine
  int max_concurrent = 0;  // sandboxes that may run at once. Local: from memory and cores, or ORKESTR_MAX_SANDBOXES
  int max_snapshots = 0;   // paused sandboxes that may be kept. Local: 100, or ORKESTR_MAX_SNAPSHOTS
  std::vector<std::string> allowed_sizes;
  std::vector<SizeLimit> sizes;
  std::vector<Region> regions;
  bool custom_egress_allowlist = false;
  std::vector<std::string> default_egress_domains;  // of Network::restricted
  std::optional<double> trial_credit_eur;
  std::optional<double> trial_credit_used_eur;
  std::optional<std::chrono::seconds> max_running_lifetime;  // nothing: no cap
  std::optional<int> max_named_snapshots;
  std::optional<std::chrono::seconds> max_timeout;
  std::string usage_resets_at;  // ISO 8601, as the service sent it
};

}  // namespace orkestr
