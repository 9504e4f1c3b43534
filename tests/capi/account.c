/* Volumes and webhooks: what is refused here. (What a service does with them, tests/parity has for C as well.) */
#include "check.h"

void test_account(orkestr_client* client, orkestr_sandbox* sandbox) {
  static const char* const kTypes[] = {"sandbox.created"};
  static const char* const kNullType[] = {NULL};
  static const char kGood[] = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
  static const char kBody[] = "what do ya want for nothing?";
  orkestr_volume_options options = ORKESTR_VOLUME_OPTIONS_INIT;
  (void)sandbox;

  FAILS(orkestr_volume_create(client, "data", NULL), ORKESTR_NOT_SUPPORTED, "local");
  FAILS(orkestr_volume_create(client, "data", &options), ORKESTR_NOT_SUPPORTED, "local");
  FAILS(orkestr_volume_list(client), ORKESTR_NOT_SUPPORTED, "local");
  FAILS(orkestr_volume_update(client, "vol_1", 1, 0), ORKESTR_NOT_SUPPORTED, "local");
  FAILS(orkestr_volume_update(client, "vol_1", 0, -1), ORKESTR_NOT_SUPPORTED, "local");
  FAILS(orkestr_volume_move(client, "vol_1", "eu"), ORKESTR_NOT_SUPPORTED, "local");
  FAILS(orkestr_volume_remove(client, "vol_1"), ORKESTR_NOT_SUPPORTED, "local");
  FAILS(orkestr_webhook_create(client, "https://a.test", NULL, 0), ORKESTR_NOT_SUPPORTED, "local");
  FAILS(orkestr_webhook_create(client, "https://a.test", kTypes, 1), ORKESTR_NOT_SUPPORTED, "local");
  FAILS(orkestr_webhook_list(client), ORKESTR_NOT_SUPPORTED, "local");
  FAILS(orkestr_webhook_enable(client, "whk_1"), ORKESTR_NOT_SUPPORTED, "local");
  FAILS(orkestr_webhook_remove(client, "whk_1"), ORKESTR_NOT_SUPPORTED, "local");

  FAILS(orkestr_volume_create(client, NULL, NULL), ORKESTR_INVALID_ARGUMENT, "name is NULL");
  FAILS(orkestr_volume_update(client, NULL, 1, 0), ORKESTR_INVALID_ARGUMENT, "volume_id is NULL");
  FAILS(orkestr_volume_update(client, "vol_1", 0, 0), ORKESTR_INVALID_ARGUMENT, "exactly one of them");
  FAILS(orkestr_volume_update(client, "vol_1", 1, 1), ORKESTR_INVALID_ARGUMENT, "exactly one of them");
  FAILS(orkestr_volume_update(client, "vol_1", 3651, 0), ORKESTR_INVALID_ARGUMENT, "max_lifetime_days is 3651");
  FAILS(orkestr_volume_update(client, "vol_1", 0, -2), ORKESTR_INVALID_ARGUMENT, "max_lifetime_hours is -2");
  FAILS(orkestr_volume_move(client, NULL, "eu"), ORKESTR_INVALID_ARGUMENT, "volume_id is NULL");
  FAILS(orkestr_volume_move(client, "vol_1", NULL), ORKESTR_INVALID_ARGUMENT, "region is NULL");
  FAILS(orkestr_volume_remove(client, NULL), ORKESTR_INVALID_ARGUMENT, "volume_id is NULL");
  FAILS(orkestr_webhook_create(client, NULL, NULL, 0), ORKESTR_INVALID_ARGUMENT, "url is NULL");
  FAILS(orkestr_webhook_create(client, "https://a.test", NULL, 1), ORKESTR_INVALID_ARGUMENT, "event_types is NULL");
  FAILS(orkestr_webhook_create(client, "https://a.test", kNullType, 1), ORKESTR_INVALID_ARGUMENT, "event_types[0]");
  FAILS(orkestr_webhook_create(client, "https://a.test", kTypes, 0), ORKESTR_INVALID_ARGUMENT, "event_types is empty");
  FAILS(orkestr_webhook_enable(client, NULL), ORKESTR_INVALID_ARGUMENT, "webhook_id is NULL");
  FAILS(orkestr_webhook_remove(client, NULL), ORKESTR_INVALID_ARGUMENT, "webhook_id is NULL");
  options.size_gb = 0.1;
  FAILS(orkestr_volume_create(client, "data", &options), ORKESTR_INVALID_ARGUMENT, "size_gb is 0.1");
  options.size = 1;
  FAILS(orkestr_volume_create(client, "data", &options), ORKESTR_INVALID_ARGUMENT, "size");

  FAILS(orkestr_volume_create(NULL, "data", NULL), ORKESTR_INVALID_ARGUMENT, "client is NULL");
  FAILS(orkestr_volume_list(NULL), ORKESTR_INVALID_ARGUMENT, "client is NULL");
  FAILS(orkestr_volume_update(NULL, "vol_1", 1, 0), ORKESTR_INVALID_ARGUMENT, "client is NULL");
  FAILS(orkestr_volume_move(NULL, "vol_1", "eu"), ORKESTR_INVALID_ARGUMENT, "client is NULL");
  FAILS(orkestr_volume_remove(NULL, "vol_1"), ORKESTR_INVALID_ARGUMENT, "client is NULL");
  FAILS(orkestr_webhook_create(NULL, "https://a.test", NULL, 0), ORKESTR_INVALID_ARGUMENT, "client is NULL");
  FAILS(orkestr_webhook_list(NULL), ORKESTR_INVALID_ARGUMENT, "client is NULL");
  FAILS(orkestr_webhook_enable(NULL, "whk_1"), ORKESTR_INVALID_ARGUMENT, "client is NULL");
  FAILS(orkestr_webhook_remove(NULL, "whk_1"), ORKESTR_INVALID_ARGUMENT, "client is NULL");

  CHECK(orkestr_verify_webhook_signature("Jefe", kBody, strlen(kBody), kGood) == 1);
  CHECK(orkestr_verify_webhook_signature("Jefe", kBody, strlen(kBody) - 1, kGood) == 0);
  CHECK(orkestr_verify_webhook_signature(NULL, kBody, strlen(kBody), kGood) == 0);
  CHECK(orkestr_verify_webhook_signature(
            "", kBody, strlen(kBody), "sha256=76d9e7194e7dbc3aa00bbe8ffb9f6fcb5a932170f971f948bb2ab61607d2b9d6") == 0);
  CHECK(orkestr_verify_webhook_signature("Jefe", NULL, 1, kGood) == 0);
  CHECK(orkestr_verify_webhook_signature("Jefe", NULL, 0, kGood) == 0);
  CHECK(orkestr_verify_webhook_signature("Jefe", kBody, (size_t)-1, kGood) == 0);
  CHECK(orkestr_verify_webhook_signature("Jefe", kBody, strlen(kBody), NULL) == 0);
}
