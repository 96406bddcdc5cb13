package runwright_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"runtime"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	runwright "github.com/runwright/runwright/clients/go"
	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

func TestARunIsStartedOnceAndAnswered(t *testing.T) {
	client := serve(t, looks(1)).connect()
	register(t, look(t, steps), client)
	budget := &runwright.Budget{Rounds: 7}
	options := []runwright.StartOption{
		runwright.WithRunID("r1"), runwright.WithSessionID("s1"), runwright.WithTurnID("t1"), runwright.WithAgentID("clerk"),
		runwright.WithPackageID("scripted"), runwright.WithBudget(budget), runwright.WithLabels(map[string]string{"of": "test"}),
	}

	first, err := client.Start(within(t), runwright.Text("Look."), options...)
	if err != nil {
		t.Fatal(err)
	}
	run := completed(t, client, "r1")
	again, err := client.Start(within(t), runwright.Text("Look."), options...)
	if err != nil {
		t.Fatal(err)
	}

	if !first.Created || again.Created || again.Run.GetRunId() != "r1" {
		t.Errorf("started %v, then %v", first.Created, again.Created)
	}
	if text := run.GetResult().GetText(); text != `done: {"step":1}` {
		t.Errorf("result %q", text)
	}
	if run.GetSessionId() != "s1" || run.GetTurnId() != "t1" || run.GetBudget().GetRounds() != 7 {
		t.Errorf("not as asked: %v", run)
	}
	if !maps.Equal(run.GetLabels(), map[string]string{"of": "test"}) {
		t.Errorf("labels %v", run.GetLabels())
	}
}

func TestAStartWhoseAnswerIsLostIsRepeatedUnderOneID(t *testing.T) {
	var ids []string
	client := serve(t, looks(0)).connect(intercepted(func(request any) {
		if start, ok := request.(*runwrightv1.StartRunRequest); ok {
			ids = append(ids, start.GetRun().GetRunId())
		}
	}, func(any) error {
		if len(ids) == 1 {
			return status.Error(codes.Unavailable, "the connection is lost")
		}
		return nil
	}))

	result, err := client.Start(within(t), runwright.Text("Look."), runwright.WithIdleSession(), runwright.WithSessionID("s"))
	if err != nil {
		t.Fatal(err)
	}

	if len(ids) != 2 || ids[0] != ids[1] || len(ids[0]) != 36 {
		t.Errorf("asked for %q", ids)
	}
	if result.Created || result.Run.GetRunId() != ids[0] {
		t.Errorf("created %v, run %q", result.Created, result.Run.GetRunId())
	}
}

func TestErrorsSayWhatTheServerSays(t *testing.T) {
	client := serve(t, looks(0)).connect()
	started(t, client, "r1")
	var failure *runwright.Error

	_, err := client.Snapshot(within(t), "nobody")
	if !errors.As(err, &failure) {
		t.Fatalf("not an Error: %v", err)
	}
	if failure.Reason != "RUN_NOT_FOUND" || failure.Code != "NOT_FOUND" || failure.Retryable ||
		failure.Metadata["run_id"] != "nobody" || failure.Remedy == "" || failure.Message == "" {
		t.Errorf("%#v", failure)
	}
	if status.Code(err) != codes.NotFound {
		t.Errorf("for gRPC it is %v", status.Code(err))
	}

	_, err = client.Start(within(t), runwright.Text("Something else."), runwright.WithRunID("r1"))
	if !errors.As(err, &failure) || failure.Reason != "RUN_ID_CONFLICT" || failure.Metadata["fields"] != "input" {
		t.Errorf("a conflict: %#v", err)
	}
	_, err = client.Start(within(t), nil)
	if !errors.As(err, &failure) || failure.Reason != "INVALID_REQUEST" || failure.Metadata["field"] == "" {
		t.Errorf("without input: %#v", err)
	}
	_, _, err = client.Wait(within(t), "nobody", 0)
	if !errors.As(err, &failure) || failure.Reason != "RUN_NOT_FOUND" {
		t.Errorf("a wait: %#v", err)
	}
	for _, err := range client.Subscribe(within(t), runwright.RunScope("nobody")).Frames() {
		if !errors.As(err, &failure) || failure.Reason != "RUN_NOT_FOUND" {
			t.Errorf("a stream: %#v", err)
		}
	}
}

func TestWhereNobodyAnswersCallsAndStreamsEnd(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	client, err := runwright.Connect(listener.Addr().String(), runwright.WithDeadline(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	check := func(what string, err error) {
		t.Helper()
		var failure *runwright.Error
		if !errors.As(err, &failure) || failure.Reason != "UNAVAILABLE" || failure.Code != "UNAVAILABLE" || !failure.Retryable {
			t.Errorf("%s: %v", what, err)
		}
	}

	_, err = client.ServerInfo(t.Context())
	check("a call", err)
	_, _, err = client.Wait(t.Context(), "r1", 0)
	check("a wait", err)
	for _, err := range client.Subscribe(t.Context(), runwright.AllScope()).Frames() {
		check("a stream", err)
	}
	for _, err := range client.List(t.Context()) {
		check("a list", err)
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = client.ServerInfo(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

func TestCancelTellsTheToolAndEndsTheRun(t *testing.T) {
	client := serve(t, looks(1)).connect()
	asked, cancelled := make(chan string, 1), make(chan error, 1)
	register(t, look(t, func(ctx context.Context, call *runwright.ToolCall, _ map[string]any) (any, error) {
		asked <- call.RunID
		<-ctx.Done()
		cancelled <- ctx.Err()
		return nil, ctx.Err()
	}), client)
	started(t, client, "r1")
	received(t, asked)

	told, err := client.Cancel(within(t), "r1", runwright.WithReason("enough"), runwright.WithGrace(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if err := received(t, cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("the tool's context ended with %v", err)
	}
	run, done, err := client.Wait(within(t), "r1", 0)

	if err != nil || !done || run.GetStatus() != runwrightv1.RunStatus_RUN_STATUS_CANCELLED || told.BarrierSeq == 0 {
		t.Errorf("ended as %v, %v, %v, barrier %d", run.GetStatus(), done, err, told.BarrierSeq)
	}
	again, err := client.Cancel(within(t), "r1")
	if err != nil || again.BarrierSeq != told.BarrierSeq {
		t.Errorf("cancelled again: %v, %v", again, err)
	}
}

func TestAWaitGoesOnOverARestart(t *testing.T) {
	server := serve(t, looks(1))
	waits := make(chan struct{}, 100)
	client := server.connect(intercepted(func(request any) {
		if _, ok := request.(*runwrightv1.WaitRequest); ok {
			waits <- struct{}{}
		}
	}, nil))
	open := make(chan struct{})
	register(t, look(t, func(ctx context.Context, call *runwright.ToolCall, arguments map[string]any) (any, error) {
		select {
		case <-open:
			return steps(ctx, call, arguments)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}), client)
	started(t, client, "r1")
	run, done, err := client.Wait(within(t), "r1", time.Millisecond)
	if err != nil || done || run.GetRunId() != "r1" {
		t.Fatalf("a short wait: %v, %v, %v", run, done, err)
	}
	received(t, waits)
	ended := make(chan *runwright.Run, 1)
	go func() {
		run, _, _ := client.Wait(t.Context(), "r1", 0)
		ended <- run
	}()
	received(t, waits)

	server.kill()
	received(t, waits) // it has noticed
	server.start()
	close(open)

	if run := received(t, ended); run.GetStatus() != runwrightv1.RunStatus_RUN_STATUS_COMPLETED {
		t.Errorf("ended as %v", run)
	}
}

func TestListsGoThroughPages(t *testing.T) {
	client := serve(t, looks(0)).connect()
	for number := range 5 {
		label := map[string]string{"odd": fmt.Sprint(number % 2)}
		started(t, client, fmt.Sprintf("r%d", number), runwright.WithLabels(label))
		completed(t, client, fmt.Sprintf("r%d", number))
	}
	listed := func(options ...runwright.ListOption) (ids []string) {
		for run, err := range client.List(within(t), append(options, runwright.WithPageSize(2))...) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, run.GetRunId())
		}
		return ids
	}

	if all := fmt.Sprint(listed()); all != "[r4 r3 r2 r1 r0]" {
		t.Errorf("all: %v", all)
	}
	filter := &runwright.RunFilter{Labels: map[string]string{"odd": "1"}}
	if odd := fmt.Sprint(listed(runwright.WithRunFilter(filter))); odd != "[r3 r1]" {
		t.Errorf("odd: %v", odd)
	}

	var paged, streamed []*runwright.Frame
	scope := runwright.AgentScope("clerk")
	for frame, err := range client.ListEvents(within(t), scope, runwright.WithPageSize(3), runwright.WithContents()) {
		if err != nil {
			t.Fatal(err)
		}
		paged = append(paged, frame)
	}
	for frame := range client.Subscribe(within(t), scope, runwright.WithContents()).Frames() {
		if streamed = append(streamed, frame); len(events(streamed)) == len(paged) {
			break
		}
	}
	for number, frame := range events(streamed) {
		if !proto.Equal(frame, paged[number]) {
			t.Errorf("frame %d differs: %v and %v", number, frame, paged[number])
		}
	}
	if len(paged) < 25 || len(paged[1].GetContents()) == 0 {
		t.Errorf("%d frames; contents %v", len(paged), paged[1].GetContents())
	}
	info, err := client.ServerInfo(within(t))
	if err != nil || info.GetPackages()[0].GetPackage().GetPackageId() != "scripted" {
		t.Errorf("server info: %v, %v", info, err)
	}
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	server := serve(t, looks(1))
	before := runtime.NumGoroutine()
	client, err := runwright.Connect(server.address)
	if err != nil {
		t.Fatal(err)
	}
	tools := runwright.NewToolServer()
	runwright.Handle(tools, "look", steps)
	if err := tools.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	register(t, tools, client)
	started(t, client, "r1")
	for range client.Subscribe(t.Context(), runwright.RunScope("r1")).Frames() {
		continue
	}
	connected := runtime.NumGoroutine()
	for range 10 {
		for range client.Subscribe(t.Context(), runwright.AllScope()).Frames() {
			break // left in the middle
		}
	}
	noGoroutines(t, connected)
	opened, ended := make(chan struct{}, 100), make(chan error, 1)
	go func() {
		for _, err := range client.Subscribe(context.Background(), runwright.AllScope()).Frames() {
			if opened <- struct{}{}; err != nil {
				ended <- err
			}
		}
	}()
	received(t, opened)

	tools.Close()
	if err := client.Close(); err != nil {
		t.Error(err)
	}

	if err := received(t, ended); status.Code(err) != codes.Canceled {
		t.Errorf("the stream of a closed client ended with %v", err)
	}
	noGoroutines(t, before)
}

// intercepted is told of every unary call before it is made, and may change what came of it.
func intercepted(before func(request any), after func(request any) error) runwright.Option {
	return runwright.WithDialOptions(grpc.WithChainUnaryInterceptor(func(
		ctx context.Context, method string, request, reply any, connection *grpc.ClientConn,
		invoke grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		before(request)
		err := invoke(ctx, method, request, reply, connection, options...)
		if after != nil && err == nil {
			return after(request)
		}
		return err
	}))
}
