// Output of a long command as it comes. Dropping the stream would leave it running; cancel() kills it.
//
// expect: step 1
// expect: step 5
// expect: exit code 0
#include <cstdio>
#include <orkestr/orkestr.hpp>

int main() try {
  auto sandbox = orkestr::Sandbox::create({"python-3.12-bare"}).value();
  auto stream =
      sandbox.exec_stream("for i in 1 2 3 4 5; do echo step $i; sleep 0.3; done; echo warnings: 0 >&2").value();
  while (auto chunk = stream.next().value()) {
    if (chunk->is_final()) {
      std::printf("exit code %d after %lld ms\n", *chunk->exit_code,
                  static_cast<long long>(chunk->duration.count() / 1000));
    } else {
      const bool error = chunk->stream == orkestr::OutputStream::standard_error;
      std::fwrite(chunk->data.data(), 1, chunk->data.size(), error ? stderr : stdout);
    }
  }
  sandbox.terminate().value();
  return 0;
} catch (const orkestr::OrkestrError& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
