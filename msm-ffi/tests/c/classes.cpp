// What msm.hpp has, and that it frees what it holds.
#include <msm.hpp>

#include <cstdlib>
#include <type_traits>
#include <vector>

#include "common.h"

static_assert(!std::is_copy_constructible_v<msm::mesh> && std::is_nothrow_move_constructible_v<msm::mesh>);
static_assert(!std::is_copy_constructible_v<msm::burst> && std::is_nothrow_move_assignable_v<msm::burst>);

int main() {
  msm::mesh mesh;
  WANT(MSM_RESULT_BAD_CONFIGURATION, msm::mesh::start("nonsense: 1", mesh));
  CHECK(!mesh && msm::last_error()[0] != 0);
  OK(msm::mesh::start("workers: 1", mesh));
  msm::publisher publisher;
  OK(mesh.publish("rtsp://test/in", SDP, publisher));
  msm::reader reader;
  OK(mesh.open("rtsp://test/in", reader));
  std::vector<std::uint8_t> bytes(4 * PACKET);
  for (std::uint16_t number = 0; number < 4; number++) {
    packet(bytes.data() + number * PACKET, number);
  }
  OK(publisher.send_burst(0, bytes.data(), bytes.size(), PACKET));
  std::size_t had = 0;
  msm::burst burst;
  while (had < 4) {
    OK(reader.recv(burst, 5000));
    for (const msm_packet &packet : burst) {
      CHECK(packet.payload_length == PACKET - 12);
      CHECK(memcmp(packet.payload, bytes.data() + had * PACKET + 12, PACKET - 12) == 0);
      had++;
    }
  }
  msm::burst moved = std::move(burst);
  CHECK(burst.empty() && !moved.empty());
  OK(publisher.forward(0, moved));
  OK(publisher.send(0, bytes.data(), PACKET, 0));
  int descriptor = -1;
  OK(reader.fd(descriptor));
  std::string json, metrics, cause;
  OK(mesh.status(json));
  OK(mesh.metrics(metrics));
  CHECK(json.find("rtsp://test/in") != std::string::npos && metrics.find("msm_readers") != std::string::npos);
  WANT(MSM_RESULT_AGAIN, reader.end_cause(cause));
  msm::publisher last = std::move(publisher);
  CHECK(!publisher && last);
  last.reset();
  msm::result result;
  while (msm::ok(result = reader.recv(burst, 5000))) {
  }
  WANT(MSM_RESULT_ENDED, result);
  OK(reader.end_cause(cause));
  CHECK(cause == "its publisher has left");
  // Freed in whichever order they go.
  std::puts("ok");
  return 0;
}
