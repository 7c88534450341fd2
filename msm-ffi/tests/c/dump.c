/* Writes the payloads of a stream's packets, each after its length: dump URL PACKETS */
#include "common.h"

int main(int argc, char **argv) {
  CHECK(argc == 3);
  long packets = strtol(argv[2], NULL, 10);
  msm_mesh *mesh = NULL;
  msm_reader *reader = NULL;
  OK(msm_mesh_start(NULL, &mesh));
  OK(msm_mesh_open(mesh, argv[1], NULL, &reader));
  fputs("reading\n", stderr);
  while (packets > 0) {
    msm_burst burst = {0};
    OK(msm_reader_recv_burst(reader, 10000, &burst));
    for (size_t index = 0; packets > 0 && index < burst.count; index++, packets--) {
      msm_packet one;
      OK(msm_burst_packet(&burst, index, &one));
      uint32_t length = (uint32_t)one.payload_length;
      CHECK(fwrite(&length, sizeof length, 1, stdout) == 1);
      CHECK(fwrite(one.payload, 1, length, stdout) == length);
    }
    OK(msm_burst_release(&burst));
  }
  OK(msm_reader_free(reader));
  OK(msm_mesh_free(mesh));
  return 0;
}
