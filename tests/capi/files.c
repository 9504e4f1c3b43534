/* Files: whole, in a batch, and as streams with much in them. */
#include <poll.h>
#include <unistd.h>

#include "check.h"

static void test_entries(orkestr_sandbox* sandbox) {
  orkestr_value* value;
  const orkestr_value* entry;
  WORKS(orkestr_files_mkdir(sandbox, "/workspace/dir/sub", 1));
  FAILS(orkestr_files_mkdir(sandbox, "/workspace/none/sub", 0), ORKESTR_FILE_NOT_FOUND, "");
  WORKS(orkestr_files_write(sandbox, "/workspace/dir/a", "a\0b", 3, 0600));
  WORKS(orkestr_files_write(sandbox, "/workspace/dir/empty", NULL, 0, 0));
  value = GIVES(orkestr_files_list(sandbox, "/workspace/dir"));
  CHECK(orkestr_value_count(value, NULL) == 3);
  entry = orkestr_value_at(value, NULL, 0);
  HAS_FIELDS(entry, "name is_dir size mode modified_at");
  IS_TEXT(entry, "name", "a");
  CHECK(orkestr_value_integer(entry, "mode") == 0600 && orkestr_value_integer(entry, "size") == 3);
  CHECK(orkestr_value_type(entry, "modified_at") == ORKESTR_TYPE_TIME);
  CHECK(orkestr_value_integer(entry, "modified_at") > 1600000000000);
  CHECK(orkestr_value_integer(orkestr_value_at(value, NULL, 2), "is_dir") == 1);
  orkestr_value_free(value);

  WORKS(orkestr_files_move(sandbox, "/workspace/dir/a", "/workspace/dir/b"));
  value = GIVES(orkestr_files_stat(sandbox, "/workspace/dir/a"));
  HAS_FIELDS(value, "exists is_dir size mode modified_at");
  CHECK(orkestr_value_type(value, "exists") == ORKESTR_TYPE_FLAG && orkestr_value_integer(value, "exists") == 0);
  orkestr_value_free(value);
  WORKS(orkestr_files_remove(sandbox, "/workspace/dir/b"));
  FAILS(orkestr_files_read(sandbox, "/workspace/dir/b"), ORKESTR_FILE_NOT_FOUND, "/workspace/dir/b");
  FAILS(orkestr_files_read(sandbox, "/workspace/dir"), ORKESTR_IS_A_DIRECTORY, "");
  FAILS(orkestr_files_list(sandbox, "/workspace/dir/empty"), ORKESTR_NOT_A_DIRECTORY, "");
  FAILS(orkestr_files_write(sandbox, "/etc/x", "x", 1, 0), ORKESTR_NOT_PERMITTED, "/etc/x");
  FAILS(orkestr_files_read(sandbox, "relative"), ORKESTR_INVALID_ARGUMENT, "relative");
  FAILS(orkestr_files_presign_download(sandbox, "/workspace/x", 0), ORKESTR_NOT_SUPPORTED, "local");
  FAILS(orkestr_files_presign_upload(sandbox, "/workspace/x", 0), ORKESTR_NOT_SUPPORTED, "local");
}

static void test_batch(orkestr_sandbox* sandbox) {
  const orkestr_file files[3] = {
      {"/workspace/one", "1", 1, 0}, {"/workspace/dir", "x", 1, 0}, {"/workspace/two", "2\0", 2, 0755}};
  size_t length = 0;
  orkestr_value* value = GIVES(orkestr_files_write_batch(sandbox, files, 3));
  CHECK(orkestr_value_count(value, NULL) == 3);
  HAS_FIELDS(orkestr_value_at(value, NULL, 0), "path bytes_written status error message");
  CHECK(orkestr_value_integer(orkestr_value_at(value, NULL, 0), "status") == ORKESTR_OK);
  CHECK(orkestr_value_integer(orkestr_value_at(value, NULL, 1), "status") == ORKESTR_IS_A_DIRECTORY);
  IS_TEXT(orkestr_value_at(value, NULL, 0), "error", "");
  IS_TEXT(orkestr_value_at(value, NULL, 1), "error", "is_a_directory");
  CHECK(orkestr_value_integer(orkestr_value_at(value, NULL, 2), "bytes_written") == 2);
  orkestr_value_free(value);
  value = GIVES(orkestr_files_read(sandbox, "/workspace/two"));
  CHECK(orkestr_value_type(value, NULL) == ORKESTR_TYPE_BYTES);
  CHECK(memcmp(orkestr_value_bytes(value, NULL, &length), "2\0", 2) == 0 && length == 2);
  orkestr_value_free(value);
}

static void never_called(void* user, orkestr_status status) {
  (void)user;
  (void)status;
  CHECK(!"a callback that was refused");
}

static void test_file_streams(orkestr_sandbox* sandbox) {
  orkestr_stream *writer = NULL, *reader = NULL;
  orkestr_value* piece = NULL;
  size_t written = 0;
  OK(orkestr_files_write_stream(sandbox, "/workspace/streamed", 0640, &writer, &error));
  CHECK(orkestr_stream_fd(writer) == -1);
  REFUSED(ORKESTR_INVALID_ARGUMENT, "no descriptor", orkestr_stream_notify(writer, never_called, NULL, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "writes a file", orkestr_stream_next(writer, 0, &piece, &error));
  OK(orkestr_stream_write(writer, "some", 4, WAIT_MS, &written, &error));
  CHECK(written == 4);
  OK(orkestr_stream_finish(writer, WAIT_MS, &error));
  OK(orkestr_stream_finish(writer, 0, &error));
  REFUSED(ORKESTR_NOT_READY, "finished", orkestr_stream_write(writer, "more", 4, 0, &written, &error));
  orkestr_stream_free(writer);

  OK(orkestr_files_read_stream(sandbox, "/workspace/streamed", &reader, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "only read", orkestr_stream_write(reader, "x", 1, 0, &written, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "only read", orkestr_stream_finish(reader, 0, &error));
  CHECK(orkestr_stream_pid(reader) == 0);
  OK(orkestr_stream_next(reader, WAIT_MS, &piece, &error));
  IS_TEXT(piece, "data", "some");
  orkestr_value_free(piece);
  CHECK(orkestr_stream_next(reader, WAIT_MS, &piece, NULL) == ORKESTR_END);
  orkestr_stream_free(reader);

  OK(orkestr_files_read_stream(sandbox, "/workspace/none", &reader, &error));
  REFUSED(ORKESTR_FILE_NOT_FOUND, "none", orkestr_stream_next(reader, WAIT_MS, &piece, &error));
  orkestr_stream_free(reader);
  REFUSED(ORKESTR_NOT_PERMITTED, "/etc/x", orkestr_files_write_stream(sandbox, "/etc/x", 0, &writer, &error));

  /* Dropped, and cancelled: nothing is left behind. */
  OK(orkestr_files_write_stream(sandbox, "/workspace/dropped", 0, &writer, &error));
  OK(orkestr_stream_write(writer, "some", 4, WAIT_MS, &written, &error));
  orkestr_stream_free(writer);
  OK(orkestr_files_write_stream(sandbox, "/workspace/dropped", 0, &writer, &error));
  OK(orkestr_stream_cancel(writer, &error));
  REFUSED(ORKESTR_CANCELLED, "", orkestr_stream_finish(writer, WAIT_MS, &error));
  orkestr_stream_free(writer);
  OK(orkestr_files_read_stream(sandbox, "/workspace/streamed", &reader, &error));
  OK(orkestr_stream_cancel(reader, &error));
  orkestr_stream_free(reader);
  piece = GIVES(orkestr_files_exists(sandbox, "/workspace/dropped"));
  CHECK(orkestr_value_integer(piece, NULL) == 0);
  orkestr_value_free(piece);
}

void test_files(orkestr_client* client, orkestr_sandbox* sandbox) {
  (void)client;
  test_entries(sandbox);
  test_batch(sandbox);
  test_file_streams(sandbox);
}

/* 256 MiB (CAPI_TEST_MB) up, down and through a command's output; a sum over all of it confirms them. */
static unsigned long long sum_of(const unsigned char* data, size_t length, unsigned long long sum) {
  size_t i;
  for (i = 0; i < length; ++i) sum = sum * 31 + data[i];
  return sum;
}

static void pull(orkestr_stream* stream, size_t size, unsigned long long sum) {
  unsigned long long got = 0;
  size_t total = 0;
  orkestr_value* piece = NULL;
  orkestr_status status;
  while ((status = orkestr_stream_next(stream, WAIT_MS, &piece, NULL)) == ORKESTR_OK) {
    size_t length = 0;
    const char* data = orkestr_value_bytes(piece, "data", &length);
    got = sum_of((const unsigned char*)data, length, got);
    total += length;
    orkestr_value_free(piece);
  }
  CHECK(status == ORKESTR_END && total == size && got == sum);
  orkestr_stream_free(stream);
}

void test_volume(orkestr_client* client, orkestr_sandbox* sandbox) {
  const char* megabytes = getenv("CAPI_TEST_MB");
  const size_t block = (size_t)1 << 20, size = block * (size_t)(megabytes != NULL ? atoi(megabytes) : 256);
  unsigned char* data = malloc(block);
  unsigned long long sum = 0, seed = 88172645463325252ULL;
  size_t sent = 0, written = 0, i;
  orkestr_stream* stream = NULL;
  (void)client;

  OK(orkestr_files_write_stream(sandbox, "/workspace/blob", 0, &stream, &error));
  while (sent < size) {
    size_t at = 0;
    for (i = 0; i < block; ++i) {
      seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
      data[i] = (unsigned char)(seed >> 56);
    }
    for (; at < block; at += written) {
      if (!CHECK(orkestr_stream_write(stream, data + at, block - at, WAIT_MS, &written, NULL) == ORKESTR_OK)) break;
    }
    if (at < block) break;
    sum = sum_of(data, block, sum);
    sent += block;
  }
  free(data);
  OK(orkestr_stream_finish(stream, WAIT_MS, &error));
  orkestr_stream_free(stream);
  OK(orkestr_files_read_stream(sandbox, "/workspace/blob", &stream, &error));
  pull(stream, size, sum);
  OK(orkestr_sandbox_exec_stream(sandbox, "cat /workspace/blob", NULL, &stream, &error));
  pull(stream, size, sum);
  WORKS(orkestr_files_remove(sandbox, "/workspace/blob"));
}
