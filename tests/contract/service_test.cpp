// What a service has and the local backend answers not_supported to, and what both have of a sandbox's life.
#include <algorithm>
#include <chrono>
#include <limits>

#include "support/suite.hpp"

namespace orkestr::testing {

using std::chrono::seconds;

TEST_CASE("service: networks, regions and volumes are passed on") {
  auto options = create_options();
  options.network = Network::restricted;
  if (left_out(Has::networks, [&] { return Sandbox::create(options, client()); })) return;
  options.allow_domains = {"a.test"};
  options.region = "eu";
  options.volume = "vol_1";
  options.preview_auth = true;
  auto sandbox = must(Sandbox::create(options, client()));
  CHECK(sandbox.info().network == Network::restricted);
  CHECK(sandbox.info().region == "eu");
  CHECK(sandbox.info().volume == "vol_1");
  CHECK_FALSE(sandbox.info().preview_auth_token.empty());
  must(sandbox.terminate());
}

TEST_CASE("service: presigned URLs") {
  auto files = shared_sandbox().files();
  if (left_out(Has::presigned, [&] { return files.presign_download("/workspace/x"); })) return;
  must(files.write("/workspace/signed", "x"));
  const auto down = must(files.presign_download("/workspace/signed"));
  CHECK(down.method == "GET");
  CHECK(down.path == "/workspace/signed");
  CHECK(down.expires_at > std::chrono::system_clock::now());
  CHECK(must(files.presign_upload("/workspace/other", seconds(60))).method == "PUT");
  must_fail(files.presign_upload("/etc/passwd"), ErrorCode::not_permitted);
  must_fail(files.presign_download("/workspace/signed", seconds(59)), ErrorCode::invalid_argument);
}

TEST_CASE("service: named snapshots, and a sandbox that starts from one") {
  auto sandbox = shared_sandbox();
  if (left_out(Has::snapshots, [&] { return sandbox.snapshot("one"); })) {
    must_fail(Snapshot::list(client()), ErrorCode::not_supported);
    return;
  }
  must(sandbox.files().write("/workspace/kept", "in the snapshot"));
  const auto snapshot = must(sandbox.snapshot("one"));
  CHECK(snapshot.status == "ready");
  CHECK(snapshot.source_sandbox_id == sandbox.id());
  CHECK(must(Snapshot::get(snapshot.id, client())).name == "one");
  const auto all = must(Snapshot::list(client()));
  CHECK(std::any_of(all.begin(), all.end(), [&](const SnapshotInfo& one) { return one.id == snapshot.id; }));
  CreateOptions options;
  options.snapshot = snapshot.id;
  auto copy = must(Sandbox::create(options, client()));
  CHECK(must(copy.files().read("/workspace/kept")) == "in the snapshot");
  must(copy.terminate());
  must(Snapshot::remove(snapshot.id, client()));
  must(Snapshot::remove(snapshot.id, client()));
  must_fail(Snapshot::get(snapshot.id, client()), ErrorCode::not_found);
}

TEST_CASE("service: volumes") {
  if (left_out(Has::volumes, [&] { return Volume::create("data", {}, client()); })) {
    must_fail(Volume::list(client()), ErrorCode::not_supported);
    must_fail(Volume::update("vol_1", {}, client()), ErrorCode::not_supported);
    must_fail(Volume::move("vol_1", "eu", client()), ErrorCode::not_supported);
    must_fail(Volume::remove("vol_1", client()), ErrorCode::not_supported);
    return;
  }
  VolumeOptions options;
  options.size_gb = 0.25;
  options.max_lifetime_hours = 2;
  const auto volume = must(Volume::create("data", options, client()));
  CHECK(volume.name == "data");
  CHECK(volume.size_mb == 256);
  CHECK(volume.region.empty());
  CHECK(volume.max_lifetime_hours == 2);
  CHECK_FALSE(volume.max_lifetime_days);
  REQUIRE(volume.expires_at);
  const auto left = *volume.expires_at - std::chrono::system_clock::now();
  CHECK(left > std::chrono::minutes(118));
  CHECK(left < std::chrono::minutes(122));
  const auto all = must(Volume::list(client()));
  CHECK(std::any_of(all.begin(), all.end(), [&](const VolumeInfo& one) { return one.id == volume.id; }));

  CHECK(must(Volume::update(volume.id, {VolumeLifetime::Unit::days, 3}, client())).max_lifetime_days == 3);
  const auto for_ever = must(Volume::update(volume.id, {VolumeLifetime::Unit::hours, {}}, client()));
  CHECK_FALSE(for_ever.expires_at);
  CHECK(must(Volume::move(volume.id, "rbx", client())).region == "rbx");

  CreateOptions create = create_options();
  create.volume = "data";
  auto sandbox = must(Sandbox::create(create, client()));
  must_fail(Volume::move(volume.id, "eu", client()), ErrorCode::volume_in_use);
  must_fail(Volume::remove(volume.id, client()), ErrorCode::volume_in_use);
  must(sandbox.terminate());
  must(Volume::remove(volume.id, client()));
  must_fail(Volume::remove(volume.id, client()), ErrorCode::not_found);
}

TEST_CASE("service: webhooks") {
  if (left_out(Has::webhooks, [&] { return Webhook::create("https://a.test/hook", {}, client()); })) {
    must_fail(Webhook::list(client()), ErrorCode::not_supported);
    must_fail(Webhook::enable("whk_1", client()), ErrorCode::not_supported);
    must_fail(Webhook::remove("whk_1", client()), ErrorCode::not_supported);
    return;
  }
  const auto all_events = must(Webhook::create("https://a.test/hook", {}, client()));
  CHECK_FALSE(all_events.event_types);
  CHECK(all_events.active);
  CHECK_FALSE(all_events.secret.empty());
  const std::vector<std::string> types = {"sandbox.created", "volume.expired"};
  const auto some = must(Webhook::create("https://b.test/hook", types, client()));
  CHECK(some.event_types == types);
  CHECK(some.created_at);
  const auto listed = must(Webhook::list(client()));
  REQUIRE(listed.size() == 2);
  CHECK(listed[1].url == "https://b.test/hook");
  CHECK(listed[1].secret.empty());
  CHECK(must(Webhook::enable(some.id, client())).active);
  must(Webhook::remove(some.id, client()));
  must(Webhook::remove(all_events.id, client()));
  must_fail(Webhook::enable(some.id, client()), ErrorCode::not_found);
}

TEST_CASE("volumes and webhooks: what is refused before anything is sent") {
  const auto refused = [](const auto& result, const std::string& said) {
    const Error error = must_fail(result, ErrorCode::invalid_argument);
    CHECK_MESSAGE(error.message().find(said) != std::string::npos, error.message());
  };
  const auto create = [](double size_gb, std::optional<int> days, std::optional<int> hours) {
    VolumeOptions options;
    options.size_gb = size_gb;
    options.max_lifetime_days = days;
    options.max_lifetime_hours = hours;
    return Volume::create("data", options, client());
  };
  refused(Volume::create("", {}, client()), "name is ''");
  refused(Volume::create("a\nb", {}, client()), "name is 'a\\x0ab'");
  refused(create(0.1, {}, {}), "size_gb is 0.1");
  refused(create(std::numeric_limits<double>::quiet_NaN(), {}, {}), "size_gb is nan");
  refused(create(1, 1, 1), "give one of them");
  refused(create(1, 3651, {}), "max_lifetime_days is 3651; allowed are 1 to 3650");
  refused(create(1, {}, 25), "max_lifetime_hours is 25; allowed are 1 to 24");
  refused(Volume::update("vol_1", {VolumeLifetime::Unit::hours, 0}, client()), "max_lifetime_hours is 0");
  refused(Volume::move("vol_1", "", client()), "region is ''");
  must_fail(Volume::remove("a/b", client()), ErrorCode::not_found);
  must_fail(Webhook::remove("", client()), ErrorCode::not_found);
  refused(Webhook::create("ftp://a.test", {}, client()), "url is 'ftp://a.test'");
  refused(Webhook::create("https://a.test/ x", {}, client()), "without spaces");
  refused(Webhook::create("https://a.test", std::vector<std::string>{}, client()), "event_types is empty");
  refused(Webhook::create("https://a.test", std::vector<std::string>{""}, client()), "event_types");
}

TEST_CASE("the signature of a webhook's delivery") {
  // RFC 4231, test case 2.
  const std::string good = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
  CHECK(verify_webhook_signature("Jefe", "what do ya want for nothing?", good));
  CHECK_FALSE(verify_webhook_signature("Jefe", "what do ya want for nothing!", good));
  CHECK_FALSE(verify_webhook_signature("jefe", "what do ya want for nothing?", good));
  for (const char* other :
       {"", "sha256=", "sha1=abc", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"}) {
    CHECK_FALSE(verify_webhook_signature("Jefe", "what do ya want for nothing?", other));
  }
  const std::string anybodys = "sha256=76d9e7194e7dbc3aa00bbe8ffb9f6fcb5a932170f971f948bb2ab61607d2b9d6";
  CHECK_FALSE(verify_webhook_signature("", "what do ya want for nothing?", anybodys));
}

TEST_CASE("service: the host name of a port") {
  auto sandbox = shared_sandbox();
  if (left_out(Has::hosts, [&] { return sandbox.get_host(8000); })) return;
  CHECK(must(sandbox.get_host(8000)).find("8000-") == 0);
  must_fail(sandbox.get_host(0), ErrorCode::invalid_argument);
}

TEST_CASE("files: one of 40 MB, its mode, and a length that is not known beforehand") {
  auto sandbox = shared_sandbox();
  std::string content(40U << 20U, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 31 + i / 4096);
  must(sandbox.files().write("/workspace/large", content, 0750));
  CHECK(must(sandbox.files().stat("/workspace/large")).mode == 0750);
  CHECK(must(sandbox.files().read("/workspace/large")) == content);
  {
    auto writer = must(sandbox.files().write_stream("/workspace/large", 0640));
    must(writer.write(std::string_view(content).substr(0, 17U << 20U)));
    must(writer.write(std::string_view(content).substr(17U << 20U)));
    must(writer.finish());
  }
  CHECK(must(sandbox.files().stat("/workspace/large")).mode == 0640);
  auto reader = must(sandbox.files().read_stream("/workspace/large"));
  std::size_t at = 0;
  while (true) {
    const std::string part = must(reader.read());
    if (part.empty()) break;
    REQUIRE(content.compare(at, part.size(), part) == 0);
    at += part.size();
  }
  CHECK(at == content.size());
  must(sandbox.files().remove("/workspace/large"));
}

TEST_CASE("set_timeout and limits") {
  auto sandbox = must(Sandbox::create(create_options(), client()));
  must(sandbox.set_timeout(seconds(120)));
  const auto left = sandbox.info().expires_at - std::chrono::system_clock::now();
  CHECK(left > seconds(100));
  CHECK(left < seconds(130));
  must_fail(sandbox.set_timeout(seconds(1)), ErrorCode::invalid_argument);
  const auto limits = must(Sandbox::limits(client()));
  CHECK_FALSE(limits.plan.empty());
  CHECK(limits.max_concurrent > 0);
  must(sandbox.terminate());
  must_fail(sandbox.set_timeout(seconds(60)), ErrorCode::not_ready);
}

TEST_CASE("pause and resume: processes go on, meanwhile nothing does") {
  auto sandbox = must(Sandbox::create(create_options(), client()));
  must(sandbox.exec("(while sleep 0.1; do echo beat >> /tmp/beats; done) > /dev/null 2>&1 &"));
  CHECK(must(sandbox.pause()) == sandbox.id());
  CHECK(sandbox.info().status == Status::paused);
  must_fail(sandbox.exec("true"), ErrorCode::not_ready);
  auto back = must(Sandbox::resume(sandbox.id(), {}, client()));
  CHECK(back.info().status == Status::running);
  const int before = std::stoi(must(back.exec("sed -n '$=' /tmp/beats || echo 0")).stdout_data);
  must(back.exec("sleep 0.5"));
  CHECK(std::stoi(must(back.exec("sed -n '$=' /tmp/beats")).stdout_data) > before);
  must(back.terminate());
}

}  // namespace orkestr::testing
