/* Ten thousand times open and close, in flat memory. The argument is how many. */
#include "common.h"

#include <malloc.h>

static size_t used(void) {
  struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

int main(int argc, char **argv) {
  unsigned cycles = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 10000;
  msm_mesh *mesh = NULL;
  OK(msm_mesh_start("workers: 1", &mesh));
  msm_publisher *publisher = NULL;
  OK(msm_mesh_publish(mesh, "rtsp://test/in", SDP, NULL, &publisher));
  uint8_t bytes[PACKET];
  size_t before = 0;
  for (unsigned cycle = 0; cycle < cycles; cycle++) {
    if (cycle == cycles / 10) {
      before = used();
    }
    msm_reader *reader = NULL;
    OK(msm_mesh_open(mesh, "rtsp://test/in", NULL, &reader));
    int descriptor = -1;
    OK(msm_reader_fd(reader, &descriptor));
    packet(bytes, (uint16_t)cycle);
    /* A keyframe each: none of those before it is kept. */
    bytes[12] = 0x65;
    OK(msm_publisher_send(publisher, 0, bytes, PACKET, -1));
    msm_burst burst = {0};
    OK(msm_reader_recv_burst(reader, 5000, &burst));
    OK(msm_reader_free(reader));
    OK(msm_burst_release(&burst));
    /* A publisher, and so a stream, of its own now and then. */
    if (cycle % 16 == 0) {
      msm_publisher *other = NULL;
      OK(msm_mesh_publish(mesh, "rtsp://test/other", SDP, NULL, &other));
      OK(msm_publisher_close(other, -1));
    }
  }
  size_t after = used();
  printf("%u cycles: %zu bytes before, %zu after\n", cycles, before, after);
  CHECK(after < before + 256 * 1024);
  OK(msm_publisher_free(publisher));
  OK(msm_mesh_free(mesh));
  puts("ok");
  return 0;
}
