/* Sandboxes from outside: info, events, metrics, pause and resume, the end; and the machine they run on. */
#include "check.h"

#define INFO_FIELDS                                                                                               \
  "id status template network cpu cpu_reason memory_mb disk_mb region created_at expires_at metadata on_timeout " \
  "auto_resume paused_expires_at preview_auth preview_auth_token volume node_id backend end_reason accelerator "  \
  "accelerator_reason isolation jail"
#define TEMPLATE_FIELDS \
  "name description built current build_id directory created_at bytes digest image_sha256 recipe_sha256 kernel parts"

static int progressed = 0;
static void on_progress(void* user, const orkestr_value* progress) {
  (void)user;
  HAS_FIELDS(progress, "template step index count line elapsed_ms");
  ++progressed;
}

static void test_templates(orkestr_client* client) {
  orkestr_template_options options = ORKESTR_TEMPLATE_OPTIONS_INIT;
  orkestr_value* value = GIVES(orkestr_template_list(client));
  CHECK(orkestr_value_count(value, NULL) >= 3);
  HAS_FIELDS(orkestr_value_at(value, NULL, 0), TEMPLATE_FIELDS);
  orkestr_value_free(value);
  value = GIVES(orkestr_template_inspect(client, "python-3.12-bare"));
  CHECK(orkestr_value_integer(value, "built") == 1 && orkestr_value_count(value, "parts") > 10);
  HAS_FIELDS(orkestr_value_at(value, "parts", 0), "source name version origin sha256 bytes");
  orkestr_value_free(value);
  options.on_progress = on_progress;
  value = GIVES(orkestr_template_build(client, "python-3.12-bare", &options)); /* there already */
  IS_TEXT(value, "name", "python-3.12-bare");
  orkestr_value_free(value);
  value = GIVES(orkestr_template_prepare(client, "python-3.12-bare", &options));
  CHECK(orkestr_value_integer(value, "current") == 1);
  orkestr_value_free(value);
  options.recipe = "{\"name\": 7}";
  FAILS(orkestr_template_build(client, NULL, &options), ORKESTR_INVALID_ARGUMENT, "");
  FAILS(orkestr_template_inspect(client, "python-3.11-bear"), ORKESTR_TEMPLATE_NOT_FOUND, "python-3.11-bear");
  FAILS(orkestr_template_remove(client, "python-3.11-bear"), ORKESTR_TEMPLATE_NOT_FOUND, "python-3.11-bear");
  FAILS(orkestr_template_prepare(client, "python-3.11-bear", NULL), ORKESTR_TEMPLATE_NOT_FOUND, "python-3.11-bear");
}

/* One in a home of our own: for what is listed and removed, its manifest is enough. */
static void test_template_remove(void) {
  orkestr_client* client = NULL;
  orkestr_value* value;
  char from[4096], line[16384];
  snprintf(from, sizeof from, "%s/cache", getenv("ORKESTR_HOME"));
  enter_home();
  snprintf(line, sizeof line,
           "set -e; from=%s/templates/python-3.12-bare; to=%s/cache/templates/python-3.12-bare; "
           "id=$(basename $(dirname $from/*/template.json)); mkdir -p $to/$id; cp %s/version $to/../..; "
           "cp $from/$id/template.json $to/$id; cp -P $from/current $to",
           from, getenv("ORKESTR_HOME"), from);
  CHECK(system(line) == 0);
  OK(orkestr_client_open(NULL, &client, &error));
  value = GIVES(orkestr_template_inspect(client, "python-3.12-bare"));
  CHECK(strncmp(orkestr_value_text(value, "directory"), getenv("ORKESTR_HOME"), strlen(getenv("ORKESTR_HOME"))) == 0);
  orkestr_value_free(value);
  CHECK(GIVES(orkestr_template_remove(client, "python-3.12-bare")) == NULL);
  snprintf(line, sizeof line, "test ! -e %s/cache/templates/python-3.12-bare", getenv("ORKESTR_HOME"));
  CHECK(system(line) == 0);
  orkestr_client_free(client);
  leave_home();
}

static void test_pool(orkestr_client* client) {
  orkestr_pool_options options = ORKESTR_POOL_OPTIONS_INIT;
  orkestr_value* value;
  options.template_name = "python-3.12-bare";
  options.idle_timeout_ms = 120000;
  options.min_available_mb = -1;
  value = GIVES(orkestr_pool_set(client, &options));
  HAS_FIELDS(value, "template count ready cpu memory_mb disk_mb idle_seconds min_available_mb members problem");
  CHECK(orkestr_value_integer(value, "count") == 1 && orkestr_value_integer(value, "idle_seconds") == 120);
  CHECK(orkestr_value_integer(value, "min_available_mb") == 0);
  CHECK(orkestr_value_integer(value, "ready") == 1 || orkestr_value_text(value, "problem")[0] != '\0');
  orkestr_value_free(value);
  value = GIVES(orkestr_pool_list(client));
  CHECK(orkestr_value_count(value, NULL) == 1);
  HAS_FIELDS(orkestr_value_at(orkestr_value_at(value, NULL, 0), "members", 0), "id ready created_at");
  orkestr_value_free(value);
  value = GIVES(orkestr_pool_clear(client, NULL));
  CHECK(orkestr_value_type(value, NULL) == ORKESTR_TYPE_INTEGER && orkestr_value_integer(value, NULL) == 1);
  orkestr_value_free(value);
}

void test_host(orkestr_client* client, orkestr_sandbox* sandbox) {
  orkestr_value* value = GIVES(orkestr_host_doctor(client, 0));
  (void)sandbox;
  CHECK(orkestr_value_count(value, NULL) > 5);
  HAS_FIELDS(orkestr_value_at(value, NULL, 0), "check level message remedy fixed");
  orkestr_value_free(value);
  value = GIVES(orkestr_host_gc(client));
  HAS_FIELDS(value, "reaped forgotten removed bytes skipped");
  orkestr_value_free(value);
  value = GIVES(orkestr_client_limits(client));
  HAS_FIELDS(value,
             "plan max_concurrent max_snapshots allowed_sizes sizes regions custom_egress_allowlist "
             "default_egress_domains trial_credit_eur trial_credit_used_eur max_running_lifetime_seconds "
             "max_named_snapshots max_timeout_seconds usage_resets_at");
  IS_TEXT(value, "plan", "local");
  CHECK(orkestr_value_type(value, "trial_credit_eur") == ORKESTR_TYPE_NULL);
  CHECK(orkestr_value_count(value, "sizes") == 3);
  HAS_FIELDS(orkestr_value_at(value, "sizes", 0), "size cpu memory_mb allowed");
  IS_TEXT(orkestr_value_at(value, "allowed_sizes", 0), NULL, "small");
  orkestr_value_free(value);
  test_templates(client);
  test_template_remove();
  test_pool(client);
}

static void test_info(orkestr_client* client, orkestr_sandbox* sandbox) {
  orkestr_list_options list = ORKESTR_LIST_OPTIONS_INIT;
  const orkestr_pair label = {"part", "capi"};
  orkestr_value* value = NULL;
  int64_t expires, since;
  OK(orkestr_sandbox_info(sandbox, &value, &error));
  HAS_FIELDS(value, INFO_FIELDS);
  IS_TEXT(value, "template", "python-3.12-bare");
  IS_TEXT(value, "id", orkestr_sandbox_id(sandbox));
  CHECK(orkestr_value_type(value, "metadata") == ORKESTR_TYPE_RECORD && orkestr_value_count(value, "metadata") == 1);
  CHECK(strcmp(orkestr_value_name(value, "metadata", 0), "part") == 0);
  IS_TEXT(orkestr_value_at(value, "metadata", 0), NULL, "capi");
  CHECK(orkestr_value_type(value, "paused_expires_at") == ORKESTR_TYPE_NULL);
  CHECK(orkestr_value_number(value, "cpu") == 1.0);
  expires = orkestr_value_integer(value, "expires_at");
  orkestr_value_free(value);
  value = GIVES(orkestr_sandbox_set_timeout(sandbox, 3000001)); /* 3001 s */
  CHECK(orkestr_value_integer(value, "expires_at") > expires);
  orkestr_value_free(value);
  FAILS(orkestr_sandbox_set_timeout(sandbox, 0), ORKESTR_INVALID_ARGUMENT, "timeout");

  list.metadata = &label;
  list.metadata_count = 1;
  list.status = "running";
  value = GIVES(orkestr_sandbox_list(client, &list));
  CHECK(orkestr_value_count(value, NULL) == 1);
  HAS_FIELDS(orkestr_value_at(value, NULL, 0), INFO_FIELDS);
  orkestr_value_free(value);

  value = GIVES(orkestr_sandbox_events(sandbox, 0, 0));
  CHECK(orkestr_value_count(value, NULL) > 10);
  HAS_FIELDS(orkestr_value_at(value, NULL, 0), "time kind outcome command path exit_code duration_ms reason json");
  IS_TEXT(orkestr_value_at(value, NULL, 0), "kind", "created");
  since = orkestr_value_integer(orkestr_value_at(value, NULL, orkestr_value_count(value, NULL) - 1), "time");
  orkestr_value_free(value);
  value = GIVES(orkestr_sandbox_events(sandbox, since, 1));
  CHECK(orkestr_value_count(value, NULL) == 1);
  orkestr_value_free(value);
  WORKS(orkestr_sandbox_events(sandbox, INT64_MAX, 0));
  value = GIVES(orkestr_sandbox_metrics(sandbox, 0));
  HAS_FIELDS(value,
             "sandbox_id status as_of sample_interval_seconds window_seconds cpu_cores cpu_usage_cores "
             "cpu_usage_percent memory_limit_bytes memory_usage_bytes memory_usage_percent lifetime_cpu_seconds "
             "lifetime_gb_seconds samples");
  CHECK(orkestr_value_integer(value, "memory_usage_bytes") > 1 << 20);
  orkestr_value_free(value);
}

void test_life(orkestr_client* client, orkestr_sandbox* sandbox) {
  orkestr_resume_options resume = ORKESTR_RESUME_OPTIONS_INIT;
  orkestr_sandbox* resumed = NULL;
  orkestr_value* value;

  test_info(client, sandbox);
  FAILS(orkestr_sandbox_snapshot(sandbox, "s"), ORKESTR_NOT_SUPPORTED, "local");
  FAILS(orkestr_snapshot_list(client), ORKESTR_NOT_SUPPORTED, "local");
  FAILS(orkestr_snapshot_get(client, "snp_1"), ORKESTR_NOT_SUPPORTED, "local");
  FAILS(orkestr_snapshot_remove(client, "snp_1"), ORKESTR_NOT_SUPPORTED, "local");
  FAILS(orkestr_sandbox_get_host(sandbox, 80), ORKESTR_NOT_SUPPORTED, "local");

  value = GIVES(orkestr_sandbox_pause(sandbox));
  IS_TEXT(value, NULL, orkestr_sandbox_id(sandbox));
  orkestr_value_free(value);
  FAILS(orkestr_sandbox_exec(sandbox, "true", NULL), ORKESTR_NOT_READY, "");
  OK(orkestr_await_sandbox(orkestr_sandbox_resume(client, orkestr_sandbox_id(sandbox), &resume), WAIT_MS, &resumed,
                           &error));
  value = GIVES(orkestr_sandbox_exec(resumed, "cat /workspace/one", NULL));
  IS_TEXT(value, "stdout", "1");
  orkestr_value_free(value);
  value = GIVES(orkestr_sandbox_terminate(resumed));
  IS_TEXT(value, "status", "terminated");
  orkestr_value_free(value);
  WORKS(orkestr_sandbox_terminate(resumed));
  value = GIVES(orkestr_sandbox_refresh(sandbox));
  IS_TEXT(value, "status", "terminated");
  orkestr_value_free(value);
  orkestr_sandbox_free(resumed);
  FAILS(orkestr_sandbox_exec(sandbox, "true", NULL), ORKESTR_NOT_READY, "");
  REFUSED(
      ORKESTR_NOT_FOUND, "sbx_01",
      orkestr_await_sandbox(orkestr_sandbox_get(client, "sbx_01ARZ3NDEKTSV4RRFFQ69G5FAV"), WAIT_MS, &resumed, &error));
}
