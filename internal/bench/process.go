//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const headerTimeout = 10 * time.Second

// cores are the two that are used: one for the proxy under measurement, one for
// everything else.
type cores struct{ bench, proxies int }

// takeCores moves this process to the first core that it may use.
func takeCores() (cores, error) {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return cores{}, err
	}
	var list []int
	for core := range 1024 {
		if may.IsSet(core) {
			list = append(list, core)
		}
	}
	if len(list) < 2 {
		return cores{}, errors.New("two cores are needed")
	}
	c := cores{bench: list[0], proxies: list[1]}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return c, err
	}
	runtime.GOMAXPROCS(1)
	for _, task := range tasks { // threads that are made later inherit it
		id, err := strconv.Atoi(task.Name())
		if err != nil {
			return c, err
		}
		if err := pin(id, c.bench); err != nil {
			return c, err
		}
	}
	return c, nil
}

func pin(thread, core int) error {
	var set unix.CPUSet
	set.Set(core)
	return unix.SchedSetaffinity(thread, &set)
}

// A process is a proxy under measurement.
type process struct {
	cmd     *exec.Cmd
	address string // of callers
	admin   string
	began   time.Time // when it was started
}

// launch starts a program on a core, which it and its runtime then take for the
// only one there is. Its log goes to a file.
func launch(core int, environ []string, log string, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...)}
	p.cmd.Env = environ
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p.cmd.Stdout, p.cmd.Stderr = file, file
	started := make(chan error)
	go func() { // on a thread that ends with it: its core is that of the process
		runtime.LockOSThread()
		if err := pin(0, core); err != nil {
			started <- err
			return
		}
		p.began = time.Now()
		started <- p.cmd.Start()
	}()
	return p, <-started
}

func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// cpu returns the time that the process has run, all its threads together, to the
// nanosecond: the clock of clock_getcpuclockid(3).
func (p *process) cpu() (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED
	var now unix.Timespec
	err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|scheduled), &now)
	return time.Duration(now.Nano()), err
}

// resident returns a line of /proc/PID/status in bytes: VmRSS, or VmHWM for the
// most that it ever was.
func (p *process) resident(name string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			kilobytes, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in the status of the process", name)
}

// metric returns a value of the process's metrics.
func (p *process) metric(ctx context.Context, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			_, _ = io.Copy(io.Discard, resp.Body)
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// ready waits until both listeners answer.
func (p *process) ready(ctx context.Context) error {
	for _, address := range []string{p.address, p.admin} {
		for {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			if err == nil {
				_ = conn.Close()
				break
			}
			if time.Since(p.began) > 30*time.Second {
				return fmt.Errorf("it does not answer: %w", err)
			}
			if err := pause(ctx, 2*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// freeAddress returns an address of this machine on which nobody listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
