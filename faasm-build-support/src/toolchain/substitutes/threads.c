/* Threads, for code that is written for them. There is only one: it gets every lock, nobody waits for it, and no second one can be
 * started. Python has such functions for itself; these are for what packages use besides. They are weak, so that Python's own go
 * before them. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define NOTHING(name, ...) __attribute__((weak)) int name(__VA_ARGS__) { return 0; }

NOTHING(pthread_cond_broadcast, pthread_cond_t *condition)
NOTHING(pthread_cond_destroy, pthread_cond_t *condition)
NOTHING(pthread_cond_init, pthread_cond_t *restrict condition, const pthread_condattr_t *restrict attributes)
NOTHING(pthread_cond_signal, pthread_cond_t *condition)
NOTHING(pthread_condattr_destroy, pthread_condattr_t *attributes)
NOTHING(pthread_condattr_init, pthread_condattr_t *attributes)
NOTHING(pthread_condattr_setclock, pthread_condattr_t *attributes, clockid_t clock)
NOTHING(pthread_mutex_destroy, pthread_mutex_t *mutex)
NOTHING(pthread_mutex_init, pthread_mutex_t *restrict mutex, const pthread_mutexattr_t *restrict attributes)
NOTHING(pthread_mutex_lock, pthread_mutex_t *mutex)
NOTHING(pthread_mutex_timedlock, pthread_mutex_t *restrict mutex, const struct timespec *restrict until)
NOTHING(pthread_mutex_trylock, pthread_mutex_t *mutex)
NOTHING(pthread_mutex_unlock, pthread_mutex_t *mutex)
NOTHING(pthread_mutexattr_destroy, pthread_mutexattr_t *attributes)
NOTHING(pthread_mutexattr_init, pthread_mutexattr_t *attributes)
NOTHING(pthread_mutexattr_settype, pthread_mutexattr_t *attributes, int type)
NOTHING(pthread_rwlock_destroy, pthread_rwlock_t *lock)
NOTHING(pthread_rwlock_init, pthread_rwlock_t *restrict lock, const pthread_rwlockattr_t *restrict attributes)
NOTHING(pthread_rwlock_rdlock, pthread_rwlock_t *lock)
NOTHING(pthread_rwlock_tryrdlock, pthread_rwlock_t *lock)
NOTHING(pthread_rwlock_trywrlock, pthread_rwlock_t *lock)
NOTHING(pthread_rwlock_unlock, pthread_rwlock_t *lock)
NOTHING(pthread_rwlock_wrlock, pthread_rwlock_t *lock)
NOTHING(pthread_attr_destroy, pthread_attr_t *attributes)
NOTHING(pthread_attr_init, pthread_attr_t *attributes)
NOTHING(pthread_attr_setdetachstate, pthread_attr_t *attributes, int state)
NOTHING(pthread_attr_setstacksize, pthread_attr_t *attributes, size_t size)
NOTHING(pthread_atfork, void (*prepare)(void), void (*parent)(void), void (*child)(void))

/* What waits for somebody else waits for ever. */
__attribute__((weak)) int pthread_cond_wait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex) {
    return EDEADLK;
}

__attribute__((weak)) int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                                                 const struct timespec *restrict until) {
    clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, until, NULL);
    return ETIMEDOUT;
}

__attribute__((weak)) int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
                                         void *(*start)(void *), void *restrict argument) {
    return EAGAIN;
}

__attribute__((weak)) int pthread_join(pthread_t thread, void **result) { return ESRCH; }
__attribute__((weak)) int pthread_detach(pthread_t thread) { return ESRCH; }

__attribute__((weak)) int pthread_once(pthread_once_t *once, void (*function)(void)) {
    if (!*once) {
        *once = 1;
        function();
    }
    return 0;
}

/* As threads have no identity in C but that they differ, any number is one. */
__attribute__((weak)) pthread_t pthread_self(void) { return (pthread_t)1; }

__attribute__((weak, noreturn)) void pthread_exit(void *result) { exit(0); }

/* Objects and values of the only thread. No thread ends before the program does, so no destructor runs. */
__attribute__((weak)) int __cxa_thread_atexit(void (*destructor)(void *), void *object, void *library) { return 0; }

#define MOST_KEYS 128
static const void *values[MOST_KEYS];
static char used[MOST_KEYS];

__attribute__((weak)) int pthread_key_create(pthread_key_t *key, void (*destructor)(void *)) {
    for (unsigned index = 0; index < MOST_KEYS; index++) {
        if (!used[index]) {
            used[index] = 1;
            values[index] = NULL;
            *key = index;
            return 0;
        }
    }
    return EAGAIN;
}

__attribute__((weak)) int pthread_key_delete(pthread_key_t key) {
    used[key] = 0;
    return 0;
}

__attribute__((weak)) int pthread_setspecific(pthread_key_t key, const void *value) {
    values[key] = value;
    return 0;
}

__attribute__((weak)) void *pthread_getspecific(pthread_key_t key) { return (void *)values[key]; }
