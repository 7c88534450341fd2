/* Reads a stream and says what comes: reader URL */
#include <msm.h>
#include <stdio.h>

static int failed(const char *what, msm_result result) {
  fprintf(stderr, "%s: %s: %s\n", what, msm_result_name(result), msm_last_error());
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: %s URL\n", argv[0]), 2;
  msm_mesh *mesh = NULL;
  msm_reader *reader = NULL;
  msm_result result = msm_mesh_start(NULL, &mesh);
  if (result != MSM_RESULT_OK) return failed("start", result);
  result = msm_mesh_open(mesh, argv[1], NULL, &reader);
  if (result != MSM_RESULT_OK) return failed(argv[1], result);
  msm_burst burst;
  while ((result = msm_reader_recv_burst(reader, 10000, &burst)) == MSM_RESULT_OK) {
    msm_packet packet;
    for (size_t index = 0; msm_burst_packet(&burst, index, &packet) == MSM_RESULT_OK; index++)
      printf("track %zu timestamp %u %zu bytes\n", packet.track, packet.timestamp, packet.payload_length);
    fflush(stdout);
    msm_burst_release(&burst);
  }
  msm_reader_free(reader);
  msm_mesh_free(mesh);
  return result == MSM_RESULT_ENDED ? 0 : failed("recv", result);
}
