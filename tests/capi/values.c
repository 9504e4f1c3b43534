/* What needs no sandbox: versions, statuses, getters of nothing. */
#include "check.h"

#define ORKESTR_ERROR(code, class, status, when, hint) #code,
static const char* const codes[] = {
#include "../../src/base/errors.def"
};
#undef ORKESTR_ERROR

void test_values(void) {
  int status, named = 0;
  size_t length = 1;
  CHECK(strcmp(orkestr_version(), ORKESTR_VERSION) == 0);
  CHECK(strcmp(orkestr_status_name(ORKESTR_EXEC_TIMEOUT), "exec_timeout") == 0);
  CHECK(strcmp(orkestr_status_name(ORKESTR_API_ERROR), "api") == 0);
  CHECK(strcmp(orkestr_status_name((orkestr_status)77), "unknown") == 0);
  for (status = ORKESTR_END; status <= ORKESTR_OUT_OF_MEMORY; ++status) {
    named += strcmp(orkestr_status_name((orkestr_status)status), "unknown") != 0;
  }
  CHECK(named == ORKESTR_OUT_OF_MEMORY - ORKESTR_END + 1);
  /* (And the enumerators have the names of their numbers: check_symbols.py.) */
  CHECK(sizeof codes / sizeof codes[0] == ORKESTR_CANCELLED);
  for (status = ORKESTR_INTERNAL; status <= ORKESTR_CANCELLED; ++status) {
    CHECK(strcmp(orkestr_status_name((orkestr_status)status), codes[status - ORKESTR_INTERNAL]) == 0);
  }

  CHECK(orkestr_value_type(NULL, NULL) == ORKESTR_TYPE_NONE);
  CHECK(orkestr_value_integer(NULL, "x") == 0);
  CHECK(orkestr_value_number(NULL, "x") == 0);
  CHECK(orkestr_value_bytes(NULL, "x", &length) != NULL && length == 0);
  CHECK(strcmp(orkestr_value_text(NULL, "x"), "") == 0);
  CHECK(orkestr_value_count(NULL, "x") == 0);
  CHECK(orkestr_value_at(NULL, "x", 0) == NULL);
  CHECK(orkestr_value_name(NULL, "x", 0) == NULL);
  CHECK(orkestr_error_status(NULL) == ORKESTR_OK);
  CHECK(strcmp(orkestr_error_message(NULL), "") == 0);
  CHECK(strcmp(orkestr_error_hint(NULL), "") == 0);
  CHECK(strcmp(orkestr_error_request_id(NULL), "") == 0);
  CHECK(orkestr_error_details(NULL) == NULL);
}
