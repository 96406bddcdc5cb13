package runwright_test

import (
	"testing"

	runwright "github.com/runwright/runwright/clients/go"
	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

func TestTextsAreHadWithoutKnowingTheMessages(t *testing.T) {
	server := serve(t, looks(1))
	client := server.connect()
	tools := look(t, steps)
	register(t, tools, client)
	started(t, client, "r1")
	run := completed(t, client, "r1")
	var told []string
	subscription := client.Subscribe(within(t), runwright.RunScope("r1"), runwright.WithContents(), runwright.WithUntilDone())
	for frame, err := range subscription.Frames() {
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := runwright.ToolText(frame); ok {
			told = append(told, text)
		}
		if _, ok := runwright.DeltaText(frame.GetEvent()); ok {
			t.Errorf("a delta that was not asked for: %v", frame)
		}
	}
	delta := &runwright.Event{Body: &runwrightv1.Event_ModelStreamDelta{ModelStreamDelta: &runwrightv1.ModelStreamDelta{Text: "piece"}}}

	if len(told) != 1 || told[0] == "" {
		t.Errorf("tools said %q", told)
	}
	if text, ok := runwright.ResultText(run); !ok || text == "" {
		t.Errorf("the answer is %q, %v", text, ok)
	}
	if _, ok := runwright.ResultText(&runwright.Run{}); ok {
		t.Error("a run without a result has a text")
	}
	if text, ok := runwright.DeltaText(delta); !ok || text != "piece" {
		t.Errorf("the delta is %q, %v", text, ok)
	}
}
