#include "answer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* How many bytes of valid UTF-8 begin here; 0: none. */
static size_t utf8(const unsigned char* at, size_t left) {
  const size_t length = at[0] < 0x80                    ? 1
                        : at[0] >= 0xf0 && at[0] < 0xf5 ? 4
                        : at[0] >= 0xe0 && at[0] < 0xf0 ? 3
                        : at[0] >= 0xc2 && at[0] < 0xe0 ? 2
                                                        : 0;
  size_t i;
  if (length == 0 || length > left) return 0;
  for (i = 1; i < length; ++i) {
    if ((at[i] & 0xc0) != 0x80) return 0;
  }
  return length;
}

void put_text(const char* text, size_t length) {
  const unsigned char* at = (const unsigned char*)text;
  size_t i = 0;
  putchar('"');
  while (i < length) {
    const size_t whole = utf8(at + i, length - i);
    if (whole == 0) {
      fputs("\\ufffd", stdout);
      ++i;
    } else if (whole > 1) {
      fwrite(at + i, 1, whole, stdout);
      i += whole;
    } else {
      if (at[i] < 0x20 || at[i] == 0x7f)
        printf("\\u%04x", at[i]);
      else if (at[i] == '"' || at[i] == '\\')
        printf("\\%c", at[i]);
      else
        putchar(at[i]);
      ++i;
    }
  }
  putchar('"');
}

void put_hex(const char* bytes, size_t length) {
  size_t i;
  fputs("{\"hex\": \"", stdout);
  for (i = 0; i < length; ++i) printf("%02x", (unsigned char)bytes[i]);
  fputs("\"}", stdout);
}

/* What the records of calls.json leave out. */
static int is_left_out(const orkestr_value* record, const char* field) {
  static const char* const kOfTemplates[] = {"directory", "created_at", "image_sha256", "recipe_sha256", "parts"};
  size_t i;
  if (orkestr_value_type(record, "bytes_written") != ORKESTR_TYPE_NONE)
    return strcmp(field, "message") == 0 || strcmp(field, "status") == 0;
  if (orkestr_value_type(record, "outcome") != ORKESTR_TYPE_NONE) return strcmp(field, "json") == 0;
  if (orkestr_value_type(record, "build_id") == ORKESTR_TYPE_NONE) return 0;
  for (i = 0; i < sizeof kOfTemplates / sizeof *kOfTemplates; ++i) {
    if (strcmp(field, kOfTemplates[i]) == 0) return 1;
  }
  return 0;
}

static void put_children(const orkestr_value* value, int is_record) {
  size_t i, put = 0;
  for (i = 0; i < orkestr_value_count(value, NULL); ++i) {
    const char* name = orkestr_value_name(value, NULL, i);
    if (is_record && is_left_out(value, name)) continue;
    if (put++ > 0) fputs(", ", stdout);
    if (is_record) {
      put_text(name, strlen(name));
      fputs(": ", stdout);
    }
    put_value(orkestr_value_at(value, NULL, i));
  }
}

void put_value(const orkestr_value* value) {
  size_t length = 0;
  const char* text = orkestr_value_bytes(value, NULL, &length);
  switch (orkestr_value_type(value, NULL)) {
    case ORKESTR_TYPE_FLAG:
      fputs(orkestr_value_integer(value, NULL) != 0 ? "true" : "false", stdout);
      break;
    case ORKESTR_TYPE_INTEGER:
    case ORKESTR_TYPE_TIME:
      printf("%" PRId64, orkestr_value_integer(value, NULL));
      break;
    case ORKESTR_TYPE_NUMBER:
      printf("%.17g", orkestr_value_number(value, NULL));
      break;
    case ORKESTR_TYPE_TEXT:
      put_text(text, length);
      break;
    case ORKESTR_TYPE_BYTES:
      put_hex(text, length);
      break;
    case ORKESTR_TYPE_LIST:
      putchar('[');
      put_children(value, 0);
      putchar(']');
      break;
    case ORKESTR_TYPE_RECORD:
      putchar('{');
      put_children(value, 1);
      putchar('}');
      break;
    default:
      fputs("null", stdout);
  }
}

void answer_error(orkestr_error* error) {
  fputs("{\"error\": {\"class\": null, ", stdout);
  put_children(orkestr_error_details(error), 1);
  puts("}}");
  orkestr_error_free(error);
}

void answer_value(orkestr_value* value, int handle) {
  fputs("{\"value\": ", stdout);
  put_value(value);
  if (handle != 0) printf(", \"handle\": %d", handle);
  puts("}");
  orkestr_value_free(value);
}
