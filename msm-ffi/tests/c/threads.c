/* Eight threads with the same handles, which are freed while they are in calls. */
#include "common.h"

#include <pthread.h>
#include <time.h>

enum { THREADS = 8, ROUNDS = 6 };

struct shared {
  msm_mesh *mesh;
  msm_publisher *publisher;
  msm_reader *reader;
  unsigned number;
};

/* Whether a call may have come to that while everything ends. */
static int expected(msm_result result) {
  switch (result) {
  case MSM_RESULT_OK:
  case MSM_RESULT_AGAIN:
  case MSM_RESULT_TIMED_OUT:
  case MSM_RESULT_ENDED:
  case MSM_RESULT_CLOSED:
  case MSM_RESULT_INVALID_HANDLE:
  case MSM_RESULT_STOPPED:
  case MSM_RESULT_NOT_PUBLISHED:
    return 1;
  default:
    fprintf(stderr, "%s: %s\n", msm_result_name(result), msm_last_error());
    return 0;
  }
}

static void *run(void *argument) {
  struct shared *shared = argument;
  uint8_t bytes[PACKET];
  for (;;) {
    unsigned number = __atomic_fetch_add(&shared->number, 1, __ATOMIC_RELAXED);
    packet(bytes, (uint16_t)number);
    msm_result sent = msm_publisher_send(shared->publisher, 0, bytes, PACKET, 50);
    CHECK(expected(sent));
    msm_burst burst = {0};
    msm_result got = msm_reader_recv_burst(shared->reader, number % 2 ? -1 : 20, &burst);
    CHECK(expected(got));
    if (got == MSM_RESULT_OK) {
      OK(msm_burst_release(&burst));
    }
    msm_reader *own = NULL;
    msm_result opened = MSM_RESULT_AGAIN;
    if (number % 8 == 0) {
      opened = msm_mesh_open(shared->mesh, "rtsp://test/in", NULL, &own);
      CHECK(expected(opened));
    }
    if (opened == MSM_RESULT_OK) {
      got = msm_reader_recv(own, 5, &burst);
      CHECK(expected(got));
      if (got == MSM_RESULT_OK) {
        OK(msm_burst_release(&burst));
      }
      OK(msm_reader_free(own));
    }
    char *text = NULL;
    if (number % 32 == 0 && msm_mesh_status(shared->mesh, &text) == MSM_RESULT_OK) {
      msm_string_free(text);
    }
    msm_reader_statistics read;
    CHECK(expected(msm_reader_stats(shared->reader, &read)));
    if (sent == MSM_RESULT_ENDED || sent == MSM_RESULT_INVALID_HANDLE || sent == MSM_RESULT_CLOSED) {
      return NULL;
    }
  }
}

int main(void) {
  for (int round = 0; round < ROUNDS; round++) {
    struct shared shared = {0};
    OK(msm_mesh_start("workers: 2", &shared.mesh));
    OK(msm_mesh_publish(shared.mesh, "rtsp://test/in", SDP, NULL, &shared.publisher));
    OK(msm_mesh_open(shared.mesh, "rtsp://test/in", NULL, &shared.reader));
    pthread_t threads[THREADS];
    for (int thread = 0; thread < THREADS; thread++) {
      CHECK(pthread_create(&threads[thread], NULL, run, &shared) == 0);
    }
    struct timespec while_running = {.tv_nsec = 150000000};
    nanosleep(&while_running, NULL);
    /* In each order. */
    if (round % 3 == 0) {
      OK(msm_mesh_free(shared.mesh));
      OK(msm_publisher_free(shared.publisher));
      OK(msm_reader_free(shared.reader));
    } else if (round % 3 == 1) {
      OK(msm_reader_free(shared.reader));
      OK(msm_mesh_free(shared.mesh));
      OK(msm_publisher_free(shared.publisher));
    } else {
      OK(msm_publisher_free(shared.publisher));
      OK(msm_reader_free(shared.reader));
      OK(msm_mesh_free(shared.mesh));
    }
    for (int thread = 0; thread < THREADS; thread++) {
      CHECK(pthread_join(threads[thread], NULL) == 0);
    }
    WANT(MSM_RESULT_INVALID_HANDLE, msm_mesh_free(shared.mesh));
    CHECK(shared.number > THREADS);
  }
  puts("ok");
  return 0;
}
