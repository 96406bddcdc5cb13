package runwright

import (
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"

	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

// proxy ends every stream after one frame, with OK, as something between client and server may.
type proxy struct {
	runwrightv1.UnimplementedRuntimeServiceServer
	asked []string
}

func (p *proxy) Subscribe(
	request *runwrightv1.SubscribeRequest, stream grpc.ServerStreamingServer[runwrightv1.SubscribeResponse],
) error {
	p.asked = append(p.asked, request.GetAfterCursor())
	frame := &runwrightv1.EventFrame{Cursor: request.GetAfterCursor() + "x"}
	return stream.Send(&runwrightv1.SubscribeResponse{Frames: []*runwrightv1.EventFrame{frame}})
}

func TestAStreamOfManyRunsHasNoEnd(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	between, server := &proxy{}, grpc.NewServer()
	runwrightv1.RegisterRuntimeServiceServer(server, between)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	client, err := Connect(listener.Addr().String(), WithDeadline(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	everything := client.Subscribe(t.Context(), AllScope())
	for _, err := range everything.Frames() {
		if err != nil {
			t.Fatal(err)
		}
		if everything.Cursor() == "xxx" {
			break
		}
	}
	if everything.Reconnects() != 2 || len(between.asked) != 3 || between.asked[2] != "xx" {
		t.Errorf("came back %d times, from %q", everything.Reconnects(), between.asked)
	}
	frames := 0
	for _, err := range client.Subscribe(t.Context(), RunScope("r")).Frames() {
		if err != nil {
			t.Fatal(err)
		}
		frames++
	}
	if frames != 1 {
		t.Errorf("a run's stream: %d frames", frames)
	}
}
